#include "daemon/app/dns.h"

#include "daemon/base/limits.h"
#include "daemon/base/log.h"

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <ares.h>
#include <array>
#include <poll.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace orlop::app {

// One epoll descriptor stands for all sockets of c-ares and for the clock, so that the ring has one
// thing to wait for.
struct DnsResolver::Channel {
    ares_channel ares = nullptr;
    UniqueFd epoll;
    UniqueFd timer;

    ~Channel() {
        if (ares != nullptr) {
            ares_destroy(ares);
        }
    }

    static void on_socket(void* self, ares_socket_t fd, int readable, int writable) {
        auto& channel = *static_cast<Channel*>(self);
        epoll_event event{};
        event.events = (readable != 0 ? EPOLLIN : 0u) | (writable != 0 ? EPOLLOUT : 0u);
        event.data.fd = fd;
        if (event.events == 0) {
            ::epoll_ctl(channel.epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
        } else if (::epoll_ctl(channel.epoll.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
            ::epoll_ctl(channel.epoll.get(), EPOLL_CTL_ADD, fd, &event);
        }
    }

    void process() {
        std::array<epoll_event, 16> events;
        int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            if (event.data.fd == timer.get()) {
                std::uint64_t expirations = 0;
                (void)!::read(timer.get(), &expirations, sizeof expirations);
                continue;
            }
            bool in = (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
            bool out = (event.events & EPOLLOUT) != 0;
            ares_process_fd(
                ares, in ? event.data.fd : ARES_SOCKET_BAD, out ? event.data.fd : ARES_SOCKET_BAD);
        }
        ares_process_fd(ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // what has timed out
    }

    void arm(Duration in) {
        auto ns = std::max<std::int64_t>(1, in.count());
        itimerspec spec{};
        spec.it_value.tv_sec = ns / 1'000'000'000;
        spec.it_value.tv_nsec = ns % 1'000'000'000;
        ::timerfd_settime(timer.get(), 0, &spec, nullptr);
    }
};

// A look-up in flight; it may outlive the wish for its name.
struct DnsResolver::Question {
    DnsResolver* resolver;
    std::string name;

    static void on_answer(void* self, int status, int, ares_addrinfo* found) {
        std::unique_ptr<Question> question(static_cast<Question*>(self));
        std::vector<IpAddress> addresses;
        int ttl = static_cast<int>(limits::dns_ttl_s_max);
        for (auto* node = found == nullptr ? nullptr : found->nodes; node; node = node->ai_next) {
            addresses.push_back(SocketAddress::from_sockaddr(node->ai_addr).ip);
            ttl = std::min(ttl, node->ai_ttl);
        }
        if (found != nullptr) {
            ares_freeaddrinfo(found);
        }
        if (status == ARES_EDESTRUCTION) {
            return;
        }
        if (status != ARES_SUCCESS || addresses.empty()) {
            question->resolver->fail_name(question->name, ares_strerror(status));
        } else {
            question->resolver->answer(question->name, std::move(addresses), ttl);
        }
    }
};

DnsResolver::DnsResolver(runtime::Loop& loop, std::function<void()> changed)
    : loop_(loop), changed_(std::move(changed)), channel_(std::make_unique<Channel>()) {}

DnsResolver::~DnsResolver() = default;

Result<std::unique_ptr<DnsResolver>> DnsResolver::open(runtime::Loop& loop,
                                                       runtime::Scope& scope,
                                                       DnsOptions options,
                                                       std::function<void()> changed) {
    std::unique_ptr<DnsResolver> self(new DnsResolver(loop, std::move(changed)));
    Channel& channel = *self->channel_;
    channel.epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    channel.timer = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = channel.timer.get();
    if (::epoll_ctl(channel.epoll.get(), EPOLL_CTL_ADD, channel.timer.get(), &event) != 0) {
        return fail_errno(errno, "prepare name look-ups");
    }
    ares_options wish{};
    wish.timeout = static_cast<int>(limits::dns_query_ms);
    wish.tries = 2;
    wish.ndomains = 0;  // names are written in full: no search list
    wish.sock_state_cb = &Channel::on_socket;
    wish.sock_state_cb_data = &channel;
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB;
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS) {
        status = ares_init_options(&channel.ares, &wish, mask);
    }
    if (status == ARES_SUCCESS && !options.servers.empty()) {
        status = ares_set_servers_ports_csv(channel.ares, options.servers.c_str());
    }
    if (status != ARES_SUCCESS) {
        return fail(ErrorKind::system,
                    std::string("cannot prepare name look-ups: ") + ares_strerror(status) +
                        "; check /etc/resolv.conf and --dns-servers");
    }
    scope.spawn(&DnsResolver::serve, self.get());
    return self;
}

runtime::Task<void> DnsResolver::serve(DnsResolver* self) {
    while (!self->stopping_) {
        self->ask_due();
        self->arm();
        runtime::Operation readable;
        readable.code = runtime::OpCode::poll;
        readable.fd = self->channel_->epoll.get();
        readable.length = POLLIN;
        if (co_await runtime::Await(self->loop_, readable) < 0) {
            co_return;
        }
        self->channel_->process();
    }
}

void DnsResolver::want(const std::set<std::string>& names) {
    std::erase_if(names_, [&](const auto& entry) { return !names.contains(entry.first); });
    std::erase_if(answers_, [&](const auto& entry) { return !names.contains(entry.first); });
    for (const std::string& name : names) {
        if (names_.size() >= limits::dns_names_max && !names_.contains(name)) {
            if (!std::exchange(too_many_told_, true)) {
                log_line(LogLevel::error,
                         "control",
                         "more than {} names of ServiceEntries (dns_names_max): {} and others are "
                         "not looked up",
                         limits::dns_names_max,
                         name);
            }
            break;
        }
        names_.try_emplace(name);
    }
    channel_->arm(Duration(1));
}

void DnsResolver::stop() {
    stopping_ = true;
    channel_->arm(Duration(1));
}

void DnsResolver::ask_due() {
    Instant now = monotonic_now();
    for (auto& [name, entry] : names_) {
        bool wanted = !entry.asking && entry.due <= now;
        if (wanted && asking_ < limits::dns_queries_at_once_max) {
            ask(name, entry);
        }
    }
}

void DnsResolver::ask(const std::string& name, DnsName& entry) {
    entry.asking = true;
    ++asking_;
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    auto question = std::make_unique<Question>(Question{this, name});
    ares_getaddrinfo(channel_->ares,
                     question->name.c_str(),
                     nullptr,
                     &hints,
                     &Question::on_answer,
                     question.get());
    (void)question.release();  // now the callback's, which may have run already
}

void DnsResolver::answer(const std::string& name, std::vector<IpAddress> addresses, int ttl_s) {
    --asking_;
    auto found = names_.find(name);
    if (found == names_.end()) {
        return;  // not wanted any more
    }
    std::ranges::sort(addresses);
    auto repeated = std::ranges::unique(addresses);
    addresses.erase(repeated.begin(), repeated.end());
    if (addresses.size() > limits::dns_addresses_per_name_max) {
        addresses.resize(limits::dns_addresses_per_name_max);
    }
    DnsName& entry = found->second;
    entry.asking = false;
    entry.pause_ms = 0;
    entry.failure.clear();
    entry.due = monotonic_now() + std::chrono::seconds(std::clamp<std::int64_t>(
                                      ttl_s, limits::dns_ttl_s_min, limits::dns_ttl_s_max));
    if (entry.answered && entry.addresses == addresses) {
        return;
    }
    log_line(LogLevel::info, "control", "{} has {} addresses now", name, addresses.size());
    entry.answered = true;
    entry.addresses = addresses;
    answers_[name] = std::move(addresses);
    changed_();
}

void DnsResolver::fail_name(const std::string& name, std::string_view why) {
    --asking_;
    auto found = names_.find(name);
    if (found == names_.end()) {
        return;
    }
    DnsName& entry = found->second;
    entry.asking = false;
    entry.pause_ms =
        std::clamp(entry.pause_ms * 2, limits::dns_retry_ms_min, limits::dns_retry_ms_max);
    entry.due = monotonic_now() + std::chrono::milliseconds(entry.pause_ms);
    if (entry.failure != why) {
        log_line(LogLevel::warning,
                 "control",
                 "looking up {}: {}; {}",
                 name,
                 why,
                 entry.answered ? "the last good answer stays" : "it has no endpoints yet");
    }
    entry.failure = why;
}

// Wakes serve() when the next name is due, or when c-ares gives a server up.
void DnsResolver::arm() {
    Instant now = monotonic_now();
    Duration in = std::chrono::seconds(limits::dns_ttl_s_max);
    for (const auto& [name, entry] : names_) {
        if (!entry.asking) {
            in = std::min(in, std::max(entry.due - now, Duration(0)));
        }
    }
    if (asking_ >= limits::dns_queries_at_once_max) {
        in = std::chrono::seconds(limits::dns_ttl_s_max);  // an answer makes room
    }
    timeval most{};
    timeval room{};
    most.tv_sec = limits::dns_ttl_s_max;
    const timeval* next = ares_timeout(channel_->ares, &most, &room);
    Duration patience =
        std::chrono::seconds(next->tv_sec) + std::chrono::microseconds(next->tv_usec);
    channel_->arm(std::min(in, patience));
}

}  // namespace orlop::app
