// One HTTP/2 connection fed with arbitrary frames, either role. The first byte chooses the role
// and what the handler does. Properties: no crash, no event for a stream after its last one, and
// bounded output.
#include "daemon/codec/h2/session.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

using namespace orlop;
using namespace orlop::h2;

static void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Sink : Handler {
    Session* session = nullptr;
    std::uint8_t mode = 0;
    std::set<std::int32_t> open;
    std::set<std::int32_t> over;

    void begin(StreamId id) {
        require(!over.contains(static_cast<std::int32_t>(id)));
        open.insert(static_cast<std::int32_t>(id));
    }
    void still_open(StreamId id) { require(open.contains(static_cast<std::int32_t>(id))); }
    void finish(StreamId id) {
        // A request cut within its head was never announced.
        require(!over.contains(static_cast<std::int32_t>(id)));
        open.erase(static_cast<std::int32_t>(id));
        over.insert(static_cast<std::int32_t>(id));
    }
    void on_request(StreamId id, const RequestEvent& request) override {
        begin(id);
        for (const Field& field : request.fields) {
            require(field.value.find_first_of("\r\n") == std::string_view::npos);
        }
        if ((mode & 2) != 0) {
            session->reset(id, ErrorCode::cancel);
            finish(id);
            return;
        }
        const std::uint16_t status = request.kind == RequestKind::tunnel ? 200 : 400;
        const StreamEnd end = status == 200 ? StreamEnd::open : StreamEnd::ended;
        require(session->respond(id, status, {}, end).has_value());
    }
    void on_response(StreamId id, const ResponseEvent&) override { still_open(id); }
    void on_data(StreamId id, std::span<const std::uint8_t> bytes) override {
        still_open(id);
        static_cast<void>(session->write(id, bytes));
        if ((mode & 4) != 0) {
            session->consume(id, bytes.size());
        }
    }
    void on_trailers(StreamId id, std::span<const Field>) override { still_open(id); }
    void on_stream_end(StreamId id) override {
        still_open(id);
        session->end(id);
    }
    void on_closed(StreamId id) override { finish(id); }
    void on_reset(StreamId id, ErrorCode) override { finish(id); }
    void on_writable(StreamId id) override {
        still_open(id);
        static_cast<void>(session->write(id, std::string_view("late")));
    }
};

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    Sink sink;
    sink.mode = data[0];
    const Role role = (data[0] & 1) != 0 ? Role::client : Role::server;
    auto session = Session::create(role, sink, {});
    require(session.has_value());
    sink.session = session->get();
    for (int i = 0; role == Role::client && i < 2; ++i) {
        const auto id = (*session)->open_connect_stream("10.0.0.1:80", {});
        if (id) {
            sink.begin(*id);
        }
    }
    static constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    Instant now{};
    if (role == Role::server) {
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(preface.data());
        require((*session)->feed({bytes, preface.size()}, now).has_value());
    }
    std::span<const std::uint8_t> rest(data + 1, size - 1);
    bool alive = true;
    while (!rest.empty() && alive) {
        const std::size_t count = std::min<std::size_t>(rest.size(), 1 + data[0] * 4);
        alive = (*session)->feed(rest.first(count), now).has_value();
        rest = rest.subspan(count);
        now += std::chrono::milliseconds(data[0] & 8);
        const std::size_t ready = (*session)->output().size();
        require(ready <= 4 * limits::h2_outbound_queue_bytes_max);
        (*session)->drop_output((data[0] & 16) != 0 ? ready : ready / 2);
    }
    (*session)->fail_streams(ErrorCode::cancel);
    require(sink.open.empty());
    return 0;
}
