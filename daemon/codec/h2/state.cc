#include "daemon/codec/h2/state.h"

#include <algorithm>
#include <cassert>
#include <chrono>

namespace orlop::h2 {
namespace {

constexpr Duration flood_window = std::chrono::seconds(1);
constexpr std::uint32_t window_updates_per_data_frame = 10;
constexpr std::size_t field_overhead_bytes = 32;
constexpr std::size_t output_kept_bytes = 64 * 1024;
constexpr std::size_t spare_streams_max = 16;
constexpr std::uint8_t goaway_type = 7;

void put_u32(std::uint8_t* at, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = static_cast<std::uint8_t>(value >> shift);
    }
}

}  // namespace

void Output::append(const std::uint8_t* bytes, std::size_t count) {
    if (head_ > 0 && bytes_.size() + count > bytes_.capacity()) {
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
    bytes_.insert(bytes_.end(), bytes, bytes + count);
}

void Output::drop(std::size_t count) {
    assert(count <= size());
    head_ += count;
    if (head_ < bytes_.size()) {
        return;
    }
    head_ = 0;
    bytes_.clear();
    if (bytes_.capacity() > output_kept_bytes) {  // after a burst an idle connection is small again
        bytes_.shrink_to_fit();
    }
}

bool Output::swap(std::vector<std::uint8_t>& into, std::size_t bytes_max) {
    if (head_ != 0 || bytes_.size() > bytes_max) {
        return false;
    }
    into.clear();
    bytes_.swap(into);
    return true;
}

void HeaderBlock::begin() {
    text_.clear();
    places_.clear();
    fields_.clear();
    pseudo_.clear();
    count_ = 0;
    charged_ = 0;
}

bool HeaderBlock::add(std::string_view name, std::string_view value, std::size_t bytes_max) {
    charged_ += name.size() + value.size() + field_overhead_bytes;
    if (charged_ > bytes_max || places_.size() >= limits::http_headers_max) {
        return false;
    }
    const auto at = static_cast<std::uint32_t>(text_.size());
    const auto name_bytes = static_cast<std::uint32_t>(name.size());
    places_.push_back({at, name_bytes, at + name_bytes, static_cast<std::uint32_t>(value.size())});
    text_.append(name).append(value);
    return true;
}

void HeaderBlock::finish() {
    const std::string_view text = text_;
    for (const Place& place : places_) {
        const Field field{text.substr(place.name_at, place.name_bytes),
                          text.substr(place.value_at, place.value_bytes)};
        (field.name.starts_with(':') ? pseudo_ : fields_).push_back(field);
    }
    count_ = fields_.size();
}

std::string_view HeaderBlock::pseudo(std::string_view name) const {
    for (const Field& field : pseudo_) {
        if (field.name == name) {
            return field.value;
        }
    }
    return {};
}

SessionState::~SessionState() {
    nghttp2_session_del(session);
}

Stream* SessionState::find(std::int32_t id) {
    const auto at = std::ranges::lower_bound(streams, id, {}, [](const auto& s) { return s->id; });
    return at != streams.end() && (*at)->id == id ? at->get() : nullptr;
}

Stream* SessionState::live(StreamId id) {
    Stream* stream = find(static_cast<std::int32_t>(id));
    return stream != nullptr && stream->life == Life::live ? stream : nullptr;
}

Stream& SessionState::add(std::int32_t id) {
    assert(streams.empty() || streams.back()->id < id);
    if (spare.empty()) {
        spare.push_back(std::make_unique<Stream>());
    }
    streams.push_back(std::move(spare.back()));
    spare.pop_back();
    Stream& stream = *streams.back();
    stream = Stream{};
    stream.id = id;
    stream.opened = now;
    ++stats.streams_opened;
    return stream;
}

void SessionState::erase(std::int32_t id) {
    const auto at = std::ranges::lower_bound(streams, id, {}, [](const auto& s) { return s->id; });
    if (at == streams.end() || (*at)->id != id) {
        return;
    }
    blocked_count -= (*at)->blocked ? 1 : 0;
    if (spare.size() < spare_streams_max) {
        spare.push_back(std::move(*at));
    }
    streams.erase(at);
}

bool SessionState::announced(const Stream& stream) const {
    return role == Role::client || stream.final_head;
}

void SessionState::retire(Stream& stream, ErrorCode code) {
    if (stream.unconsumed > 0) {
        nghttp2_session_consume_connection(session, stream.unconsumed);
        stream.unconsumed = 0;
    }
    if (stream.life == Life::silenced || !announced(stream)) {
        erase(stream.id);
        return;
    }
    stream.life = Life::closed;
    stream.close_code = code;
    closed_queue.push_back(stream.id);
}

void SessionState::pump() {
    if (in_library || dead || violation != ErrorCode::no_error) {
        return;
    }
    in_library = true;
    // Bounded by the output bound: every turn appends, or the library has nothing more to say.
    while (output.size() < options.output_queue_bytes_max) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t count = nghttp2_session_mem_send(session, &bytes);
        if (count <= 0) {
            if (count < 0 && violation == ErrorCode::no_error) {
                violate(ErrorCode::internal_error, nghttp2_strerror(static_cast<int>(count)));
            }
            break;
        }
        output.append(bytes, static_cast<std::size_t>(count));
    }
    in_library = false;
}

std::size_t SessionState::writable_bytes(const Stream& stream) const {
    if (output.size() >= options.output_data_bytes_max) {
        return 0;
    }
    const std::size_t room = options.output_data_bytes_max - output.size();
    const std::int32_t stream_window =
        nghttp2_session_get_stream_remote_window_size(session, stream.id);
    const std::int32_t connection_window = nghttp2_session_get_remote_window_size(session);
    const std::int32_t window = std::min(stream_window, connection_window);
    return window <= 0 ? 0 : std::min(room, static_cast<std::size_t>(window));
}

void SessionState::dispatch() {
    if (dispatching || in_library) {
        return;
    }
    dispatching = true;
    report_closed();
    if (!dead && blocked_count > 0) {
        report_writable();
    }
    report_closed();
    dispatching = false;
}

void SessionState::report_closed() {
    // Events may close further streams; each stream is queued at most once in its life.
    for (std::size_t i = 0; i < closed_queue.size(); ++i) {
        const std::int32_t id = closed_queue[i];
        const Stream* stream = find(id);
        if (stream == nullptr) {
            continue;
        }
        const bool told = stream->life == Life::closed;
        const bool orderly = stream->local_ended && stream->remote_ended &&
                             stream->close_code == ErrorCode::no_error;
        const ErrorCode code = stream->close_code;
        if (told && orderly) {
            handler.on_closed(static_cast<StreamId>(id));
        } else if (told) {
            handler.on_reset(static_cast<StreamId>(id), code);
        }
        erase(id);
    }
    closed_queue.clear();
}

void SessionState::report_writable() {
    // One round: every stream at most once, beginning after the one served last.
    const std::int32_t begin = last_served;
    std::int32_t at = begin;
    bool wrapped = false;
    const std::size_t turns_max = streams.size() + 1;
    for (std::size_t turn = 0; turn < turns_max && blocked_count > 0; ++turn) {
        auto next = std::ranges::upper_bound(streams, at, {}, [](const auto& s) { return s->id; });
        if (next == streams.end()) {
            if (wrapped || streams.empty()) {
                return;
            }
            wrapped = true;
            next = streams.begin();
        }
        Stream& stream = **next;
        at = stream.id;
        if (wrapped && at > begin) {
            return;
        }
        if (stream.blocked && stream.life == Life::live && writable_bytes(stream) > 0) {
            stream.blocked = false;
            --blocked_count;
            last_served = at;
            handler.on_writable(static_cast<StreamId>(at));
        }
    }
}

void SessionState::roll_window(Instant instant) {
    now = instant;
    if (now - window.began >= flood_window || now < window.began) {
        window = FloodWindow{};
        window.began = now;
    }
}

bool SessionState::early(const Stream& stream) const {
    return now - stream.opened < flood_window;
}

bool SessionState::count_early_reset() {
    ++stats.streams_reset_early;
    return ++window.early_resets <= options.early_resets_max;
}

bool SessionState::count_control_frame() {
    ++stats.control_frames;
    return ++window.control_frames <= options.control_frames_max;
}

bool SessionState::count_window_update() {
    ++stats.control_frames;
    return ++window.window_updates <=
           options.control_frames_max + window.data_frames_sent * window_updates_per_data_frame;
}

int SessionState::violate(ErrorCode code, std::string_view what) {
    violation = code;
    violation_text = what;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

// By hand, since the library's session may not be used any more after a fatal error.
void SessionState::append_goaway() {
    std::array<std::uint8_t, 17> frame{};
    frame[2] = 8;
    frame[3] = goaway_type;
    put_u32(&frame[9],
            static_cast<std::uint32_t>(nghttp2_session_get_last_proc_stream_id(session)));
    put_u32(&frame[13], static_cast<std::uint32_t>(violation));
    output.append(frame.data(), frame.size());
}

Result<void> SessionState::die() {
    if (!dead) {
        if (!goaway_error_sent) {
            append_goaway();
        }
        fail_all(violation);
    }
    const bool flood = violation == ErrorCode::enhance_your_calm;
    return fail(flood ? ErrorKind::limit_exceeded : ErrorKind::invalid_input,
                "HTTP/2 connection ended with error " +
                    std::to_string(static_cast<std::uint32_t>(violation)) + ": " + violation_text +
                    "; check the peer");
}

void SessionState::fail_all(ErrorCode code) {
    dead = true;
    const bool outer = !dispatching;
    dispatching = true;
    report_closed();
    // An event may only shorten the table: a dead session opens no stream.
    while (!streams.empty()) {
        const std::int32_t id = streams.back()->id;
        const bool told = streams.back()->life == Life::live && announced(*streams.back());
        streams.back()->life = Life::silenced;
        erase(id);
        if (told) {
            handler.on_reset(static_cast<StreamId>(id), code);
        }
    }
    if (outer) {
        dispatching = false;
    }
}

}  // namespace orlop::h2
