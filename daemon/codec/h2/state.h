// The inside of a Session: nghttp2's session, our table of streams, the flood counters.
// Internal to codec/h2.
#pragma once

#include "daemon/codec/h2/session.h"

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orlop::h2 {

// A stream is in exactly one of these. `silenced` streams were given up by us and `closed` ones
// ended in the library; both stay in the table until the library, or the event queue, is done
// with them, so that nothing can be told about a stream that is gone.
enum class Life : std::uint8_t { live, silenced, closed };

struct Stream {
    std::int32_t id = 0;
    Life life = Life::live;
    bool final_head = false;    // request read, or final response read or written
    bool answered = false;      // server: respond() was called
    bool ending = false;        // end() was called: END_STREAM after `source`
    bool local_ended = false;   // END_STREAM was written
    bool remote_ended = false;  // END_STREAM was read
    bool blocked = false;       // owes an on_writable
    Instant opened{};
    std::size_t unconsumed = 0;            // received bytes not yet credited
    std::span<const std::uint8_t> source;  // only during write()
    bool ends_with_source = false;         // END_STREAM goes with the last byte of it
    bool has_trailers = false;             // `trailers` follow the data
    std::vector<std::pair<std::string, std::string>> trailers;
    ErrorCode close_code = ErrorCode::no_error;
    void* owner = nullptr;
};

// Bytes towards the transport: appended at the end, dropped from the front.
class Output {
public:
    void append(const std::uint8_t* bytes, std::size_t count);
    void drop(std::size_t count);
    // All of it for the buffer of `into`; false when it is more than `bytes_max`.
    bool swap(std::vector<std::uint8_t>& into, std::size_t bytes_max);
    std::span<const std::uint8_t> view() const { return std::span(bytes_).subspan(head_); }
    std::size_t size() const { return bytes_.size() - head_; }

private:
    std::vector<std::uint8_t> bytes_;
    std::size_t head_ = 0;
};

// One header block being decoded. Blocks never interleave on a connection (RFC 9113 section 4.3),
// so one arena serves all streams.
class HeaderBlock {
public:
    void begin();
    // False when a bound is reached. Charges 32 bytes per field, as RFC 9113 section 6.5.2 does.
    bool add(std::string_view name, std::string_view value, std::size_t bytes_max);
    void finish();  // makes the views; valid until the next begin()
    std::string_view pseudo(std::string_view name) const;  // ":method"...; empty when absent
    std::span<const Field> regular() const { return {fields_.data(), count_}; }

private:
    struct Place {
        std::uint32_t name_at, name_bytes, value_at, value_bytes;
    };
    std::string text_;
    std::vector<Place> places_;
    std::vector<Field> fields_;
    std::vector<Field> pseudo_;
    std::size_t count_ = 0;
    std::size_t charged_ = 0;
};

// Counters of one second.
struct FloodWindow {
    Instant began{};
    std::uint32_t control_frames = 0;
    std::uint32_t window_updates = 0;
    std::uint32_t data_frames_sent = 0;
    std::uint32_t early_resets = 0;
};

struct SessionState {
    SessionState(Role role, Handler& handler, const SessionOptions& options)
        : role(role), handler(handler), options(options) {}
    ~SessionState();
    SessionState(const SessionState&) = delete;
    SessionState& operator=(const SessionState&) = delete;

    Result<void> start();

    // --- streams, sorted by id: ids only grow ---
    Stream* find(std::int32_t id);
    Stream* live(StreamId id);
    Stream& add(std::int32_t id);
    void erase(std::int32_t id);
    bool announced(const Stream& stream) const;   // the handler has heard of it
    void retire(Stream& stream, ErrorCode code);  // ended in the library: queue its last event

    // --- moving bytes ---
    void pump();      // library to output
    void dispatch();  // queued last events, then on_writable where something may be written
    void report_closed();
    void report_writable();
    std::size_t writable_bytes(const Stream& stream) const;

    // --- floods and failures ---
    void roll_window(Instant now);
    bool early(const Stream& stream) const;
    bool count_early_reset();  // these three: false when the bound is exceeded
    bool count_control_frame();
    bool count_window_update();
    int violate(ErrorCode code, std::string_view what);  // remembers; returns CALLBACK_FAILURE
    Result<void> die();
    void append_goaway();
    void fail_all(ErrorCode code);

    const Role role;
    Handler& handler;
    const SessionOptions options;
    nghttp2_session* session = nullptr;
    std::vector<std::unique_ptr<Stream>> streams;
    std::vector<std::unique_ptr<Stream>> spare;
    std::vector<std::int32_t> closed_queue;
    Output output;
    HeaderBlock block;
    FloodWindow window;
    SessionStats stats;
    Instant now{};
    std::int32_t last_served = 0;  // where report_writable() goes on: nobody is always first
    std::uint32_t empty_data_in_row = 0;
    std::size_t blocked_count = 0;
    bool in_library = false;  // within mem_recv or mem_send: write() must wait
    bool dispatching = false;
    bool dead = false;
    bool goaway_notice_sent = false;
    bool goaway_sent = false;
    bool goaway_received = false;
    bool goaway_error_sent = false;  // the library ended the connection by itself
    ErrorCode violation = ErrorCode::no_error;
    std::string violation_text;
};

// Registers every callback below on `callbacks`; defined in callbacks.cc.
void set_callbacks(nghttp2_session_callbacks* callbacks);

// The library's objects of a stream live in blocks (base/block_pool.h), as ours do.
nghttp2_mem* library_memory();

// Field rules both for what we receive and what we are asked to send (RFC 9113 section 8.2).
bool sendable_name(std::string_view name);
bool connection_specific(std::string_view name, std::string_view value);
bool connection_specific_known(Known known);  // TE apart

}  // namespace orlop::h2
