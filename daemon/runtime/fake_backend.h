// FakeBackend: a ring without a kernel, for tests. A seed decides everything: when operations
// complete and in which order, how bytes are cut, which error strikes, who wins a race with a
// cancel. Time is virtual: poll() jumps to the next thing that happens. The same seed gives the
// same run, so a test prints seed() on failure and nothing else is needed to see it again.
//
// The network is TCP in memory, with the corners of Linux's that hurt: bounded buffers, half close,
// RST on close with unread bytes, bytes in flight lost by an RST while received ones stay readable,
// a socket error that is told once (afterwards receive says 0 and send says EPIPE), short results
// of a send that was cut. Any descriptor that listen(), socket() or an accept did not make becomes
// a fake socket by a connect operation; `read` and `poll` on other descriptors (eventfd, inotify)
// ask the kernel without waiting, so that Loop::post() works.
//
// Lent buffers are single heap blocks: a sanitizer sees each use after release. What breaks the
// contract of Backend (close under an operation, a double release) aborts with the seed.
//
//     auto fake = std::make_unique<FakeBackend>(FakeOptions{.seed = seed});
//     FakeBackend& network = *fake;
//     Loop loop(std::move(fake));
//     int listener = network.listen(*SocketAddress::parse("10.0.0.1:80"));
//     scope.spawn(serve, ...);  scope.spawn(client_script, ...);      // see fake_peer.h
//     EXPECT_EQ(run_until(loop, network, all_done, 60s), FakeEnd::done) << network.describe();
#pragma once

#include "daemon/runtime/backend.h"
#include "daemon/runtime/loop.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace orlop::runtime {

// Probabilities, 0 to 1.
struct FakeFaults {
    double connect_refused = 0;    // of a connect that would succeed
    double connect_timed_out = 0;  // ETIMEDOUT after minutes of virtual time
    double reset = 0;              // of a connection: an RST to both sides somewhere in its life
    double accept_exhausted = 0;   // EMFILE ends the multishot; the connection stays in the backlog
    double accept_ends = 0;        // the multishot ends with a connection, as on ring overflow
    double no_buffers = 0;         // a receive that misses the pool of lent buffers

    static FakeFaults rare() { return {0.02, 0.01, 0.02, 0.02, 0.05, 0.05}; }
    static FakeFaults harsh() { return {0.1, 0.05, 0.3, 0.1, 0.2, 0.3}; }
};

struct FakeOptions {
    std::uint64_t seed = 1;
    FakeFaults faults = {};
    Duration latency_max = std::chrono::milliseconds(2);             // of bytes, one way
    Duration completion_delay_max = std::chrono::microseconds(100);  // result to completion
    double short_read = 0.3;  // of a receive that could have had more
    // What one direction holds before a send waits; drawn per connection.
    std::size_t pipe_bytes_min = 1024;
    std::size_t pipe_bytes_max = 64 * 1024;
    std::uint32_t lent_buffer_bytes = 16 * 1024;
    std::uint32_t lent_buffers_max = 64;  // beyond it a receive counts as a buffer miss
    std::size_t backlog_max = 64;         // a full backlog holds connects back, then times them out
};

class FakeNetwork;

class FakeBackend final : public Backend {
public:
    explicit FakeBackend(FakeOptions options);
    ~FakeBackend() override;
    FakeBackend(const FakeBackend&) = delete;
    FakeBackend& operator=(const FakeBackend&) = delete;

    // A listening descriptor; close() it as any other. One listener per address.
    int listen(SocketAddress address);
    // Connections to `address` meet that listener as well, as steered ones do.
    void listen_also(int listener, SocketAddress address);
    // A fresh socket for a connect operation; its local address is drawn unless given.
    int socket(SocketAddress local = {});
    // Cuts the connection of `fd` now, as a middlebox would: both sides see the RST after a while.
    void break_connection(int fd);
    void set_faults(const FakeFaults& faults);

    std::uint64_t seed() const { return options_.seed; }
    Instant virtual_now() const;
    std::size_t open_sockets() const;  // of fake descriptors not closed, listeners included
    std::size_t operations_in_flight() const;
    std::size_t lent_buffers() const;      // not released
    bool stuck() const { return stuck_; }  // the last poll found nothing that could ever happen
    // One line per descriptor and operation, with the seed: for the message of a failed test.
    std::string describe() const;

    void start(Operation& operation) override;
    void cancel(Operation& operation) override;
    void release_buffer(const LentBuffer& buffer) override;
    void close(int fd) override;
    void poll(Wait wait, std::optional<Instant> deadline) override;
    Instant now() override { return virtual_now(); }
    const BackendStats& stats() const override { return stats_; }
    SocketAddress local_address(int fd) override;
    SocketAddress peer_address(int fd) override;
    void shutdown_write(int fd) override;
    void set_close_style(int fd, CloseStyle style) override;
    void prepare_stream_socket(int fd) override;

private:
    struct Ring;
    enum class More : bool { no, yes };

    [[noreturn]] void broken_contract(const char* what, int fd) const;
    void complete(Operation& operation, int result, More more, std::optional<LentBuffer> lent);
    bool perform(Operation& operation, std::size_t& sent);
    bool perform_accept(Operation& operation);
    void perform_receive(Operation& operation);
    void attend(std::size_t index);
    void attend_all();
    bool deliver_some();

    FakeOptions options_;
    BackendStats stats_;
    bool stuck_ = false;
    std::unique_ptr<FakeNetwork> network_;
    std::unique_ptr<Ring> ring_;
};

enum class FakeEnd : unsigned char {
    done,         // the predicate came true
    stuck,        // nothing could ever happen again: a lost wake-up or a deadlock
    out_of_time,  // `limit` of virtual time passed: too slow, or a livelock
};

// Turns `loop` (which must run on `backend`) until `done` or the end; the watchdog of a test.
FakeEnd
run_until(Loop& loop, FakeBackend& backend, const std::function<bool()>& done, Duration limit);

}  // namespace orlop::runtime
