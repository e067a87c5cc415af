#include "bench/load/h2_links.h"

#include "bench/load/sockets.h"

#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace orlop::bench {

H2Links::H2Links(const Options& options) : options_(options) {
    Expected expected{.bytes = options.reply_bytes,
                      .content = options.check_content ? Content::checked : Content::unchecked};
    auto wanted = options.traffic == Traffic::h2 ? options.connections : 0;
    for (int i = 0; i < wanted; ++i) {
        links_.push_back({.client = H2Client({options.host, options.path}, expected)});
    }
}

H2Links::~H2Links() {
    for (auto& link : links_) {
        if (link.fd >= 0) {
            close(link.fd);
        }
    }
}

void H2Links::open(int epoll) {
    epoll_ = epoll;
    for (std::size_t i = 0; i < links_.size(); ++i) {
        links_[i].fd = connect_tcp(options_.address, options_.port);
        if (links_[i].fd < 0) {
            fail("connect", -links_[i].fd);
            return;
        }
        epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {}};
        event.data.u64 = i;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, links_[i].fd, &event);
    }
}

void H2Links::request(std::size_t slot) {
    auto number = slot / static_cast<std::size_t>(options_.streams);
    Link& link = links_[number];
    link.client.request(slot);
    if (!link.dirty) {
        link.dirty = true;
        dirty_.push_back(number);
    }
}

void H2Links::on_ready(std::size_t number,
                       std::span<char> buffer,
                       const H2Client::OnReply& on_reply) {
    Link& link = links_[number];
    if (!link.connected) {
        if (int error = connect_result(link.fd); error != 0) {
            fail("connect", -error);
            return;
        }
        link.connected = true;
    }
    auto got = read(link.fd, buffer.data(), buffer.size());
    if (got == 0) {
        fail("connection closed by the peer", 0);
    } else if (got < 0 && errno != EAGAIN) {
        fail("read", errno);
    } else if (got > 0 &&
               !link.client.feed({buffer.data(), static_cast<std::size_t>(got)}, on_reply)) {
        fail(link.client.error(), 0);
    } else if (static_cast<std::uint32_t>(options_.streams) > link.client.streams_max()) {
        fail("--streams is more than the peer allows: " + std::to_string(link.client.streams_max()),
             0);
    }
    if (error_.empty()) {
        write_out(link);
    }
}

void H2Links::flush() {
    for (auto number : dirty_) {
        links_[number].dirty = false;
        write_out(links_[number]);
    }
    dirty_.clear();
}

void H2Links::write_out(Link& link) {
    while (link.connected && error_.empty() && !link.client.output().empty()) {
        auto text = link.client.output();
        auto sent = write(link.fd, text.data(), text.size());
        if (sent < 0) {
            if (errno != EAGAIN) {
                fail("write", errno);
            }
            break;
        }
        link.client.drop_output(static_cast<std::size_t>(sent));
    }
    watch(link);
}

void H2Links::watch(Link& link) {
    bool wanted = !link.client.output().empty() || !link.connected;
    if (wanted == link.wants_write) {
        return;
    }
    link.wants_write = wanted;
    epoll_event event{.events = EPOLLIN | (wanted ? EPOLLOUT : 0U), .data = {}};
    event.data.u64 = static_cast<std::uint64_t>(&link - links_.data());
    epoll_ctl(epoll_, EPOLL_CTL_MOD, link.fd, &event);
}

void H2Links::fail(const std::string& what, int error) {
    if (error_.empty()) {
        error_ = error == 0 ? what : what + ": " + std::strerror(error);
    }
}

}  // namespace orlop::bench
