#include "daemon/runtime/fake_backend.h"

#include "daemon/runtime/fake_network.h"

#include <fmt/core.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <poll.h>
#include <unistd.h>
#include <vector>

namespace orlop::runtime {
namespace {

constexpr Duration turn_cost_max = std::chrono::microseconds(20);
constexpr Duration connect_patience = std::chrono::seconds(127);  // six SYNs
constexpr unsigned stuck_polls_max = 1000;

const char* name_of(OpCode code) {
    constexpr const char* names[] = {
        "none", "accept", "receive", "receive_into", "send", "connect", "read", "poll"};
    return names[static_cast<unsigned>(code)];
}

}  // namespace

// What was started and not yet performed, and what was performed and not yet told.
struct FakeBackend::Ring {
    struct Pending {
        Operation* operation;
        std::optional<Instant> perform_at;  // drawn when the operation first could go on
        std::optional<Instant> give_up_at;  // connect
        std::optional<Instant> cancel_at;
        std::size_t sent = 0;
        bool gone = false;
    };
    struct Completion {
        Operation* operation;
        Instant due;
        int result;
        bool more;
        std::optional<LentBuffer> lent;
    };

    std::vector<Pending> pending;
    std::vector<Completion> completions;
    std::map<std::uint32_t, std::byte*> lent;
    std::uint32_t next_lent = 1;
    unsigned stuck_polls = 0;

    // A socket tells its error once, to one operation; the kernel's queue keeps that one ahead of
    // what another operation on the socket finds afterwards.
    static bool goes_before(const Completion& earlier, const Operation& operation) {
        return earlier.operation == &operation ||
               (earlier.operation->fd == operation.fd && earlier.result < 0);
    }
    bool can_go_on(FakeNetwork& network, Pending& entry) const;
    std::optional<Instant> next_event(FakeNetwork& network);
    std::vector<std::size_t> due(Instant now) const;
};

namespace {

SocketAddress address_of(const Operation& operation) {
    return SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&operation.address));
}

bool kernel_ready(const Operation& operation) {
    short events = operation.code == OpCode::poll ? static_cast<short>(operation.length) : POLLIN;
    pollfd question{operation.fd, events, 0};
    return ::poll(&question, 1, 0) > 0;
}

int ask_kernel(const Operation& operation) {
    if (operation.code == OpCode::poll) {
        pollfd question{operation.fd, static_cast<short>(operation.length), 0};
        return ::poll(&question, 1, 0) < 0 ? -errno : question.revents;
    }
    ssize_t size = ::read(operation.fd, operation.buffer, operation.length);
    return size < 0 ? -errno : static_cast<int>(size);
}

int poll_result(FakeNetwork& network, const Operation& operation) {
    unsigned mask = 0;
    mask |= network.receivable(operation.fd) ? POLLIN : 0u;
    mask |= network.sendable(operation.fd) ? POLLOUT : 0u;
    const FakeSocket& socket = *network.find(operation.fd);
    mask |= socket.end_seen || socket.reset_seen ? POLLRDHUP : 0u;
    mask |= socket.reset_seen ? POLLHUP | POLLERR : 0u;
    return static_cast<int>(mask & (static_cast<unsigned>(operation.length) | POLLHUP | POLLERR));
}

// The bytes of a send from `offset` on, piece by piece, as far as the connection takes them.
int send_more(FakeNetwork& network, Operation& operation, std::size_t& sent, std::size_t& total) {
    iovec single{operation.buffer, operation.length};
    std::span<const iovec> pieces(&single, 1);
    if (operation.message.msg_iovlen != 0) {
        pieces = {operation.message.msg_iov, operation.message.msg_iovlen};
    }
    std::size_t skip = sent;
    total = 0;
    bool waits = false;
    for (const iovec& piece : pieces) {
        total += piece.iov_len;
        std::size_t skipped = std::min(skip, piece.iov_len);
        skip -= skipped;
        if (waits || skipped == piece.iov_len) {
            continue;
        }
        std::span bytes(static_cast<const char*>(piece.iov_base) + skipped,
                        piece.iov_len - skipped);
        auto taken = network.send(operation.fd, bytes);
        if (taken && *taken < 0) {
            return *taken;
        }
        sent += static_cast<std::size_t>(taken.value_or(0));
        waits = !taken || static_cast<std::size_t>(*taken) < bytes.size();
    }
    return 0;
}

}  // namespace

bool FakeBackend::Ring::can_go_on(FakeNetwork& network, Pending& entry) const {
    Operation& operation = *entry.operation;
    if (operation.code == OpCode::none) {
        return true;
    }
    if (network.find(operation.fd) == nullptr) {
        bool kernels = operation.code == OpCode::read || operation.code == OpCode::poll;
        return !kernels || kernel_ready(operation);
    }
    switch (operation.code) {
    case OpCode::accept:
        return network.acceptable(operation.fd);
    case OpCode::receive:
    case OpCode::receive_into:
    case OpCode::read:
        return network.receivable(operation.fd);
    case OpCode::send:
        return network.sendable(operation.fd);
    case OpCode::connect:
        return !entry.give_up_at && network.connectable(operation.fd, address_of(operation));
    case OpCode::poll:
        return poll_result(network, operation) != 0;
    case OpCode::none:
        break;
    }
    return true;
}

std::optional<Instant> FakeBackend::Ring::next_event(FakeNetwork& network) {
    std::optional<Instant> earliest = network.next_event();
    auto keep = [&earliest](const std::optional<Instant>& when) {
        if (when && (!earliest || *when < *earliest)) {
            earliest = when;
        }
    };
    for (const Pending& entry : pending) {
        keep(entry.perform_at);
        keep(entry.give_up_at);
        keep(entry.cancel_at);
    }
    for (const Completion& completion : completions) {
        keep(completion.due);
    }
    return earliest;
}

// Completions that may be told now.
std::vector<std::size_t> FakeBackend::Ring::due(Instant now) const {
    std::vector<std::size_t> candidates;
    for (std::size_t i = 0; i < completions.size(); ++i) {
        auto same = [&](const Completion& earlier) {
            return goes_before(earlier, *completions[i].operation);
        };
        auto here = completions.begin() + static_cast<std::ptrdiff_t>(i);
        if (completions[i].due <= now && std::none_of(completions.begin(), here, same)) {
            candidates.push_back(i);
        }
    }
    return candidates;
}

FakeBackend::FakeBackend(FakeOptions options)
    : options_(options), network_(std::make_unique<FakeNetwork>(options)),
      ring_(std::make_unique<Ring>()) {}

FakeBackend::~FakeBackend() {
    for (auto& completion : ring_->completions) {
        if (completion.lent) {
            release_buffer(*completion.lent);
        }
    }
}

void FakeBackend::broken_contract(const char* what, int fd) const {
    std::fprintf(stderr, "orlop: fake ring: %s (descriptor %d)\n%s", what, fd, describe().c_str());
    std::abort();
}

int FakeBackend::listen(SocketAddress address) {
    return network_->add_listener(address);
}

void FakeBackend::listen_also(int listener, SocketAddress address) {
    network_->add_address(listener, address);
}

int FakeBackend::socket(SocketAddress local) {
    return network_->add_socket(local);
}

void FakeBackend::break_connection(int fd) {
    network_->break_connection(fd);
}

void FakeBackend::set_faults(const FakeFaults& faults) {
    network_->faults() = faults;
}

Instant FakeBackend::virtual_now() const {
    return network_->now();
}

std::size_t FakeBackend::open_sockets() const {
    return network_->sockets().size();
}

std::size_t FakeBackend::operations_in_flight() const {
    return ring_->pending.size() + ring_->completions.size();
}

std::size_t FakeBackend::lent_buffers() const {
    return ring_->lent.size();
}

std::string FakeBackend::describe() const {
    auto seconds = std::chrono::duration<double>(virtual_now().time_since_epoch()).count();
    std::string text = fmt::format("fake ring: seed {}, virtual time {:.6f} s, {} buffers lent\n",
                                   options_.seed,
                                   seconds,
                                   ring_->lent.size());
    for (const auto& [fd, socket] : network_->sockets()) {
        text += fmt::format("  {} {} -> {}: {} readable, {} on the way, backlog {}{}{}{}{}\n",
                            fd,
                            socket.local.to_string(),
                            socket.peer.to_string(),
                            socket.readable.size(),
                            socket.on_the_way_bytes,
                            socket.backlog.size(),
                            socket.end_seen ? ", end seen" : "",
                            socket.reset_seen ? ", reset seen" : "",
                            socket.write_shut ? ", write shut" : "",
                            socket.other < 0 ? ", alone" : "");
    }
    for (const auto& entry : ring_->pending) {
        text += fmt::format("  pending {} on {}, {} sent{}\n",
                            name_of(entry.operation->code),
                            entry.operation->fd,
                            entry.sent,
                            entry.cancel_at ? ", being cancelled" : "");
    }
    for (const auto& completion : ring_->completions) {
        text += fmt::format("  completed {} on {}: {}\n",
                            name_of(completion.operation->code),
                            completion.operation->fd,
                            completion.result);
    }
    return text;
}

void FakeBackend::start(Operation& operation) {
    if (operation.in_flight) {
        broken_contract("an operation was started twice", operation.fd);
    }
    ++stats_.submissions;
    operation.in_flight = true;
    operation.more = false;
    operation.lent.reset();
    Ring::Pending entry{&operation, {}, {}, {}, 0, false};
    FakeRandom& random = network_->random();
    if (operation.code == OpCode::connect) {
        if (network_->find(operation.fd) == nullptr) {
            network_->adopt(operation.fd);
        }
        if (random.chance(network_->faults().connect_timed_out)) {
            entry.give_up_at = virtual_now() + connect_patience;
        } else {
            entry.perform_at = virtual_now() + random.up_to(options_.latency_max);
        }
    }
    ring_->pending.push_back(entry);
}

void FakeBackend::cancel(Operation& operation) {
    for (auto& entry : ring_->pending) {
        if (entry.operation == &operation && !entry.cancel_at) {
            entry.cancel_at =
                virtual_now() + network_->random().up_to(options_.completion_delay_max);
        }
    }
}

void FakeBackend::complete(Operation& operation,
                           int result,
                           More more,
                           std::optional<LentBuffer> lent) {
    Instant due = virtual_now() + network_->random().up_to(options_.completion_delay_max);
    for (const auto& earlier : ring_->completions) {
        if (Ring::goes_before(earlier, operation)) {
            due = std::max(due, earlier.due);
        }
    }
    ring_->completions.push_back({&operation, due, result, more == More::yes, lent});
}

void FakeBackend::perform_receive(Operation& operation) {
    FakeRandom& random = network_->random();
    if (ring_->lent.size() >= options_.lent_buffers_max ||
        random.chance(network_->faults().no_buffers)) {
        ++stats_.buffer_misses;
    }
    auto* memory = static_cast<std::byte*>(std::malloc(options_.lent_buffer_bytes));
    std::span room(reinterpret_cast<char*>(memory), options_.lent_buffer_bytes);
    int result = network_->receive(operation.fd, room).value_or(-EAGAIN);
    if (result <= 0) {
        std::free(memory);
        complete(operation, result, More::no, std::nullopt);
        return;
    }
    LentBuffer lent{
        memory, static_cast<std::uint32_t>(result), options_.lent_buffer_bytes, ring_->next_lent++};
    ring_->lent[lent.id] = memory;
    complete(operation, result, More::no, lent);
}

// One connection, or the end of the multishot. True when the operation goes on.
bool FakeBackend::perform_accept(Operation& operation) {
    FakeRandom& random = network_->random();
    if (random.chance(network_->faults().accept_exhausted)) {
        complete(operation, -EMFILE, More::no, std::nullopt);
        return false;
    }
    int fd = network_->take_connection(operation.fd).value_or(-EAGAIN);
    bool goes_on = fd >= 0 && !random.chance(network_->faults().accept_ends);
    complete(operation, fd, goes_on ? More::yes : More::no, std::nullopt);
    return goes_on;
}

// The effect of an operation that can go on. True when it is done with the ring.
bool FakeBackend::perform(Operation& operation, std::size_t& sent) {
    if (operation.code != OpCode::none && network_->find(operation.fd) == nullptr) {
        bool kernels = operation.code == OpCode::read || operation.code == OpCode::poll;
        complete(operation, kernels ? ask_kernel(operation) : -EBADF, More::no, std::nullopt);
        return true;
    }
    std::span room(static_cast<char*>(operation.buffer), operation.length);
    int result = 0;
    switch (operation.code) {
    case OpCode::accept:
        return !perform_accept(operation);
    case OpCode::receive:
        perform_receive(operation);
        return true;
    case OpCode::receive_into:
    case OpCode::read:
        result = network_->receive(operation.fd, room).value_or(-EAGAIN);
        break;
    case OpCode::connect:
        result = network_->connect(operation.fd, address_of(operation)).value_or(-ETIMEDOUT);
        break;
    case OpCode::poll:
        result = poll_result(*network_, operation);
        break;
    case OpCode::send: {
        std::size_t total = 0;
        result = send_more(*network_, operation, sent, total);
        if (result == 0 && sent < total) {
            return false;
        }
        result = sent != 0 ? static_cast<int>(sent) : result;  // the error is for the next call
        break;
    }
    case OpCode::none:
        break;
    }
    complete(operation, result, More::no, std::nullopt);
    return true;
}

// Performs, cancels or gives up one pending operation, if its time has come.
void FakeBackend::attend(std::size_t index) {
    auto entry = ring_->pending[index];
    Operation& operation = *entry.operation;
    Instant now = virtual_now();
    bool ready = ring_->can_go_on(*network_, entry);
    if (entry.cancel_at && *entry.cancel_at <= now && !(ready && network_->random().chance(0.5))) {
        complete(operation,
                 entry.sent != 0 ? static_cast<int>(entry.sent) : -ECANCELED,
                 More::no,
                 std::nullopt);
        entry.gone = true;
    } else if (entry.give_up_at && *entry.give_up_at <= now) {
        complete(operation, -ETIMEDOUT, More::no, std::nullopt);
        entry.gone = true;
    } else if (ready && !entry.perform_at) {
        entry.perform_at = now + network_->random().up_to(options_.completion_delay_max);
    } else if (ready && *entry.perform_at <= now) {
        entry.gone = perform(operation, entry.sent);
        entry.perform_at.reset();
    } else if (!ready && entry.perform_at && *entry.perform_at <= now) {
        entry.perform_at.reset();
        if (operation.code == OpCode::connect) {  // the backlog is full
            entry.give_up_at = now + connect_patience;
        }
    }
    ring_->pending[index] = entry;
}

void FakeBackend::attend_all() {
    auto& pending = ring_->pending;
    std::vector<std::size_t> order(pending.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
        std::swap(order[i], order[network_->random().between(0, i)]);
    }
    for (std::size_t index : order) {
        attend(index);
    }
    std::erase_if(pending, [](const Ring::Pending& entry) { return entry.gone; });
}

bool FakeBackend::deliver_some() {
    FakeRandom& random = network_->random();
    std::size_t count = ring_->due(virtual_now()).size();
    if (count == 0) {
        return false;
    }
    for (auto left = random.between(1, count); left > 0; --left) {
        auto candidates = ring_->due(virtual_now());
        std::size_t chosen = candidates[random.between(0, candidates.size() - 1)];
        auto completion = ring_->completions[chosen];
        ring_->completions.erase(ring_->completions.begin() + static_cast<std::ptrdiff_t>(chosen));
        Operation& operation = *completion.operation;
        operation.result = completion.result;
        operation.more = completion.more;
        operation.in_flight = completion.more;
        operation.lent = completion.lent;
        ++stats_.completions;
        operation.on_complete(operation);  // may start and cancel others, or free this one
    }
    return true;
}

void FakeBackend::poll(Wait wait, std::optional<Instant> deadline) {
    ++stats_.enters;
    stuck_ = false;
    Duration cost = Duration(1) + network_->random().up_to(turn_cost_max);
    network_->advance(virtual_now() + cost);
    for (;;) {
        attend_all();
        if (deliver_some() || wait == Wait::no || (deadline && *deadline <= virtual_now())) {
            ring_->stuck_polls = 0;
            return;
        }
        auto next = ring_->next_event(*network_);
        if (!next && !deadline) {
            stuck_ = true;
            if (++ring_->stuck_polls > stuck_polls_max) {
                broken_contract("nothing can ever happen again; see run_until()", -1);
            }
            return;
        }
        Instant until = !next ? *deadline : deadline ? std::min(*next, *deadline) : *next;
        network_->advance(std::max(until, virtual_now() + Duration(1)));
    }
}

void FakeBackend::release_buffer(const LentBuffer& buffer) {
    auto found = ring_->lent.find(buffer.id);
    if (found == ring_->lent.end() || found->second != buffer.data) {
        broken_contract("a lent buffer was released twice or never lent", -1);
    }
    std::fill_n(found->second, buffer.capacity, std::byte{0xdd});
    std::free(found->second);
    ring_->lent.erase(found);
}

void FakeBackend::close(int fd) {
    auto uses = [fd](const auto& entry) { return entry.operation->fd == fd; };
    if (std::any_of(ring_->pending.begin(), ring_->pending.end(), uses) ||
        std::any_of(ring_->completions.begin(), ring_->completions.end(), uses)) {
        broken_contract("closed under an operation in flight", fd);
    }
    if (fd >= FakeNetwork::first_descriptor && network_->find(fd) == nullptr) {
        broken_contract("closed twice", fd);
    }
    network_->close(fd);
    if (fd >= 0 && fd < FakeNetwork::first_descriptor) {
        ::close(fd);
    }
}

SocketAddress FakeBackend::local_address(int fd) {
    const FakeSocket* socket = network_->find(fd);
    return socket == nullptr ? SocketAddress{} : socket->local;
}

SocketAddress FakeBackend::peer_address(int fd) {
    const FakeSocket* socket = network_->find(fd);
    return socket == nullptr ? SocketAddress{} : socket->peer;
}

void FakeBackend::shutdown_write(int fd) {
    network_->shut_write(fd);
}

void FakeBackend::set_close_style(int fd, CloseStyle style) {
    if (FakeSocket* socket = network_->find(fd)) {
        socket->close_style = style;
    }
}

void FakeBackend::prepare_stream_socket(int fd) {}

FakeEnd
run_until(Loop& loop, FakeBackend& backend, const std::function<bool()>& done, Duration limit) {
    Instant end = backend.virtual_now() + limit;
    while (!done()) {
        loop.turn(Backend::Wait::until_event);
        if (done()) {
            break;
        }
        if (backend.stuck() && loop.idle() && !loop.timers().next_deadline()) {
            return FakeEnd::stuck;
        }
        if (backend.virtual_now() >= end) {
            return FakeEnd::out_of_time;
        }
    }
    return FakeEnd::done;
}

}  // namespace orlop::runtime
