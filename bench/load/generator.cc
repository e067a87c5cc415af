#include "bench/load/generator.h"

#include "bench/load/sockets.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <time.h>
#include <unistd.h>

namespace orlop::bench {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t drain_ns_max = 2 * second_ns;
// Reading the counters stalls the loop for a moment; latencies count from this long after it.
constexpr std::int64_t settle_ns = 50'000'000;
constexpr std::size_t slices_max = 10'000;

std::int64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * second_ns + time.tv_nsec;
}

Expected expected_reply(const Options& options) {
    bool raw = options.traffic == Traffic::echo;
    return {.bytes = raw ? options.message_bytes : options.reply_bytes,
            .framing = raw ? Framing::raw : Framing::http,
            .content = raw || options.check_content ? Content::checked : Content::unchecked};
}

std::string request_text(const Options& options, const std::string& host) {
    if (options.traffic == Traffic::echo) {
        std::string message;
        for (std::int64_t i = 0; i < options.message_bytes; ++i) {
            message.push_back(pattern_byte(i));
        }
        return message;
    }
    std::string text = "GET " + options.path + " HTTP/1.1\r\nHost: " + host +
                       "\r\nUser-Agent: orlop-bench\r\nAccept: */*\r\n";
    return text + (options.traffic == Traffic::connect ? "Connection: close\r\n\r\n" : "\r\n");
}

Counted difference(const Counted& end, const Counted& begin) {
    return {end.allocations - begin.allocations,
            end.copies - begin.copies,
            end.copied_bytes - begin.copied_bytes};
}

}  // namespace

Generator::Generator(const Options& options, CpuWatch& watch)
    : options_(options), watch_(watch), links_(options),
      on_stream_([this](std::size_t slot) { on_reply(slots_[slot]); }), buffer_(256 * 1024),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (const auto& target : options.targets) {
        requests_.push_back(request_text(options, target.host));
    }
    if (requests_.empty()) {
        requests_.push_back(request_text(options, options.host));
    }
    if (options.rate_per_s > 0) {
        interval_ns_ =
            static_cast<std::int64_t>(static_cast<double>(second_ns) / options.rate_per_s);
    }
    for (int i = 0; i < options.connections * options.streams; ++i) {
        slots_.push_back(Slot{-1, State::closed, 0, ReplyReader(expected_reply(options))});
    }
}

Generator::~Generator() {
    for (auto& slot : slots_) {
        close_slot(slot);
    }
    close(epoll_);
}

std::expected<Outcome, std::string> Generator::run() {
    begin_ns_ = now();
    if (options_.traffic == Traffic::h2) {
        links_.open(epoll_);
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        if (interval_ns_ > 0) {
            idle_.push_back(i);
        } else {
            start(slots_[i], begin_ns_);
        }
    }
    std::array<epoll_event, 256> events{};
    while (error_.empty()) {
        auto time = now();
        cross_window(time);
        if (window_end_ns_ != 0 && (drained() || time > window_end_ns_ + drain_ns_max)) {
            break;
        }
        release(time);
        links_.flush();
        if (!links_.error().empty()) {
            fail(links_.error());
            break;
        }
        auto wait = wait_ns(now());
        timespec timeout{wait / second_ns, wait % second_ns};
        int count = epoll_pwait2(epoll_, events.data(), events.size(), &timeout, nullptr);
        if (count < 0 && errno != EINTR) {
            fail(std::string("epoll_pwait2: ") + std::strerror(errno));
        }
        for (int i = 0; i < count && error_.empty(); ++i) {
            on_event(events[static_cast<std::size_t>(i)].data.u64);
        }
    }
    if (error_.empty() && !drained()) {
        fail("replies due in the window did not come within 2 s of its end");
    }
    if (error_.empty() && outcome_.latency.count() == 0) {
        fail("no reply in the window");
    }
    if (!error_.empty()) {
        return std::unexpected(error_);
    }
    return outcome_;
}

// Counters are read at both ends of the window, so that set-up and warm-up are in no figure.
void Generator::cross_window(std::int64_t now_ns) {
    auto warmup_ns = static_cast<std::int64_t>(options_.warmup_s * static_cast<double>(second_ns));
    auto length_ns = static_cast<std::int64_t>(options_.seconds * static_cast<double>(second_ns));
    if (window_begin_ns_ == 0 && now_ns >= begin_ns_ + warmup_ns) {
        watch_.begin();
        outcome_.counted = read_counters();
        outcome_.replies = 0;
        outcome_.severed = 0;
        window_begin_ns_ = now();
        latency_from_ns_ = window_begin_ns_ + settle_ns;
    } else if (window_begin_ns_ != 0 && window_end_ns_ == 0 &&
               now_ns >= window_begin_ns_ + length_ns) {
        window_end_ns_ = now();
        watch_.end();
        outcome_.counted = difference(read_counters(), outcome_.counted);
        outcome_.window_s =
            static_cast<double>(window_end_ns_ - window_begin_ns_) / static_cast<double>(second_ns);
    }
}

bool Generator::drained() const {
    return interval_ns_ == 0 || (started_ == released_ && idle_.size() == slots_.size());
}

std::int64_t Generator::wait_ns(std::int64_t now_ns) const {
    std::int64_t until = now_ns + second_ns / 100;
    if (interval_ns_ > 0 && window_end_ns_ == 0) {
        auto next = begin_ns_ + static_cast<std::int64_t>(released_) * interval_ns_;
        until = next < until ? next : until;
    }
    return until > now_ns ? until - now_ns : 0;
}

// Open loop: what is due goes to idle slots, oldest first; the rest waits with its due time.
void Generator::release(std::int64_t now_ns) {
    if (interval_ns_ == 0) {
        return;
    }
    if (window_end_ns_ == 0) {
        released_ = static_cast<std::uint64_t>((now_ns - begin_ns_) / interval_ns_) + 1;
    }
    while (started_ < released_ && !idle_.empty() && error_.empty()) {
        auto index = idle_.back();
        idle_.pop_back();
        auto due = begin_ns_ + static_cast<std::int64_t>(started_) * interval_ns_;
        ++started_;
        start(slots_[index], due);
    }
    auto waiting = released_ - started_;
    if (window_begin_ns_ != 0 && waiting > outcome_.queue_depth_max) {
        outcome_.queue_depth_max = waiting;
    }
}

void Generator::start(Slot& slot, std::int64_t due_ns) {
    slot.due_ns = due_ns;
    if (options_.traffic == Traffic::h2) {
        links_.request(index_of(slot));
        slot.state = State::waiting;
        return;
    }
    slot.reader.reset();
    if (slot.state == State::closed) {
        open(slot);
        return;
    }
    send_request(slot);
}

bool Generator::open(Slot& slot) {
    const auto& address =
        options_.targets.empty() ? options_.address : options_.targets[index_of(slot)].address;
    slot.fd = connect_tcp(address, options_.port);
    if (slot.fd < 0) {
        fail(std::string("connect: ") + std::strerror(-slot.fd));
        return false;
    }
    slot.state = State::connecting;
    epoll_event event{.events = EPOLLOUT, .data = {}};
    event.data.u64 = index_of(slot);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, slot.fd, &event);
    return true;
}

void Generator::send_request(Slot& slot) {
    const auto& request = requests_[requests_.size() == 1 ? 0 : index_of(slot)];
    auto sent = write(slot.fd, request.data(), request.size());
    if (sent != static_cast<ssize_t>(request.size())) {
        fail(sent < 0 ? std::string("write: ") + std::strerror(errno) : "short write");
        return;
    }
    slot.state = State::waiting;
}

void Generator::on_event(std::size_t number) {
    if (options_.traffic == Traffic::h2) {
        links_.on_ready(number, buffer_, on_stream_);
    } else {
        on_ready(slots_[number]);
    }
}

void Generator::on_ready(Slot& slot) {
    if (slot.state == State::connecting) {
        if (int error = connect_result(slot.fd); error != 0) {
            fail(std::string("connect: ") + std::strerror(-error));
            return;
        }
        epoll_event event{.events = EPOLLIN, .data = {}};
        event.data.u64 = index_of(slot);
        epoll_ctl(epoll_, EPOLL_CTL_MOD, slot.fd, &event);
        send_request(slot);
        return;
    }
    auto got = read(slot.fd, buffer_.data(), buffer_.size());
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        fail(got == 0 ? std::string("connection closed by the peer")
                      : std::string("read: ") + std::strerror(errno));
        return;
    }
    if (slot.state != State::waiting) {
        fail("bytes without a request");
        return;
    }
    switch (slot.reader.feed({buffer_.data(), static_cast<std::size_t>(got)})) {
    case Progress::more:
        break;
    case Progress::wrong:
        fail(slot.reader.error());
        break;
    case Progress::done:
        on_reply(slot);
        break;
    }
}

void Generator::on_reply(Slot& slot) {
    auto time = now();
    if (window_end_ns_ == 0) {
        ++outcome_.replies;
    }
    bool in_window = window_begin_ns_ != 0 && slot.due_ns >= latency_from_ns_ &&
                     (interval_ns_ > 0 || window_end_ns_ == 0);
    if (in_window) {
        outcome_.latency.add(time - slot.due_ns);
        note_slice(slot.due_ns, time - slot.due_ns);
    }
    slot.state = State::idle;
    if (options_.traffic == Traffic::connect) {
        close_slot(slot);
    }
    if (options_.sever_port != 0) {
        sever(slot);
    }
    if (interval_ns_ > 0) {
        idle_.push_back(index_of(slot));
        release(time);
    } else if (window_end_ns_ == 0) {
        start(slot, time);
    }
}

std::size_t Generator::index_of(const Slot& slot) const {
    return static_cast<std::size_t>(&slot - slots_.data());
}

void Generator::sever(const Slot& slot) {
    const std::string any;
    const auto& peer = options_.targets.empty() ? any : options_.targets[index_of(slot)].severed;
    auto count = severer_.sever(peer, static_cast<std::uint16_t>(options_.sever_port));
    if (!count) {
        fail(count.error());
    } else if (window_end_ns_ == 0) {
        outcome_.severed += static_cast<std::uint64_t>(*count);
    }
}

void Generator::note_slice(std::int64_t due_ns, std::int64_t latency_ns) {
    if (options_.slice_ms <= 0) {
        return;
    }
    auto index = static_cast<std::size_t>((due_ns - window_begin_ns_) /
                                          (options_.slice_ms * (second_ns / 1000)));
    if (index < slices_max) {
        outcome_.slices.resize(std::max(outcome_.slices.size(), index + 1));
        outcome_.slices[index].add(latency_ns);
    }
}

void Generator::close_slot(Slot& slot) {
    if (slot.fd >= 0) {
        close(slot.fd);
    }
    slot.fd = -1;
    slot.state = State::closed;
}

void Generator::fail(std::string reason) {
    if (error_.empty()) {
        error_ = std::move(reason);
    }
}

Counted Generator::read_counters() const {
    Counted value;
    if (!options_.counter_file.empty()) {
        std::ifstream file(options_.counter_file, std::ios::binary);
        file.read(reinterpret_cast<char*>(&value), sizeof value);
    }
    return value;
}

}  // namespace orlop::bench
