// The load: one thread, one epoll, `connections` x `streams` slots.
//
// Closed loop: every slot sends its next request when the reply to the last one is complete.
// Open loop: request i is due at start + i / rate whatever the replies do; it is given to an idle
// slot or waits for one, and its latency counts from the time it was due, so a stalled server
// cannot hide its stall. After the window the open loop waits for what was due in it.
//
// The first wrong reply ends the run: a figure beside wrong answers is worth nothing.
#pragma once

#include "bench/load/h2_links.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/reply.h"
#include "bench/load/sever.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace orlop::bench {

// What the preloaded library counts, in the order of its file (alloc_count.c).
struct Counted {
    std::uint64_t allocations = 0;
    std::uint64_t copies = 0;
    std::uint64_t copied_bytes = 0;
};

struct Outcome {
    double window_s = 0;
    std::uint64_t replies = 0;  // in the window; CPU and counters belong to these
    Histogram latency;
    std::vector<Histogram> slices;  // by the time a request was due, Options::slice_ms each
    std::uint64_t queue_depth_max = 0;
    std::uint64_t severed = 0;  // connections destroyed in the window, see Options::sever_port
    Counted counted;            // delta of the counter file over the window
};

class Generator {
public:
    Generator(const Options& options, CpuWatch& watch);
    ~Generator();
    Generator(const Generator&) = delete;
    Generator& operator=(const Generator&) = delete;

    std::expected<Outcome, std::string> run();

private:
    enum class State : unsigned char { closed, connecting, idle, waiting };
    struct Slot {
        int fd = -1;
        State state = State::closed;
        std::int64_t due_ns = 0;
        ReplyReader reader;
    };

    bool open(Slot& slot);
    void start(Slot& slot, std::int64_t due_ns);
    void send_request(Slot& slot);
    void on_event(std::size_t number);
    void on_ready(Slot& slot);
    void on_reply(Slot& slot);
    void note_slice(std::int64_t due_ns, std::int64_t latency_ns);
    void close_slot(Slot& slot);
    void release(std::int64_t now_ns);
    void sever(const Slot& slot);
    std::size_t index_of(const Slot& slot) const;
    void cross_window(std::int64_t now_ns);
    bool drained() const;
    std::int64_t wait_ns(std::int64_t now_ns) const;
    void fail(std::string reason);
    Counted read_counters() const;

    const Options& options_;
    CpuWatch& watch_;
    std::vector<std::string> requests_;  // one, or one for each target
    std::vector<Slot> slots_;
    H2Links links_;  // of HTTP/2; none otherwise
    H2Client::OnReply on_stream_;
    std::vector<std::size_t> idle_;
    std::vector<char> buffer_;
    Severer severer_;
    Outcome outcome_;
    std::string error_;
    int epoll_ = -1;
    std::int64_t interval_ns_ = 0;  // 0: closed loop
    std::int64_t begin_ns_ = 0;
    std::int64_t window_begin_ns_ = 0;  // 0 until the warm-up is over
    std::int64_t latency_from_ns_ = 0;
    std::int64_t window_end_ns_ = 0;  // 0 until the window is over
    std::uint64_t released_ = 0;      // open loop: requests due so far
    std::uint64_t started_ = 0;
};

}  // namespace orlop::bench
