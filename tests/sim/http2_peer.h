// Http2Peer: one end of an HTTP/2 connection for scripts, on the codec's own Session.
//
// Either role. run() reads until the transport ends; say() sends what the session has to say. A
// server answers each request with `answer` once its body has ended.
#pragma once

#include "daemon/codec/h2/session.h"
#include "tests/sim/world.h"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace orlop::sim {

struct Http2Message {
    std::string method, path, authority;  // requests
    int status = 0;                       // responses
    std::vector<int> interim;
    std::map<std::string, std::string> fields;
    std::map<std::string, std::string> trailers;
    std::string body;
    bool ended = false;
    std::optional<h2::ErrorCode> reset;
};

class Http2Peer final : public h2::Handler {
public:
    using Answer =
        std::function<void(Http2Peer& peer, h2::StreamId id, const Http2Message& message)>;
    Http2Peer(World& world,
              ScriptedPeer& transport,
              h2::Role role,
              Answer answer = nullptr,
              const h2::SessionOptions& options = {});

    // Client: a request; a body is sent whole.
    h2::StreamId request(const std::string& method,
                         const std::string& path,
                         const std::vector<Field>& fields = {},
                         const std::string& body = "");
    // Server: a whole response, trailers behind the body.
    void respond(h2::StreamId id,
                 int status,
                 const std::vector<Field>& fields,
                 const std::string& body,
                 const std::vector<Field>& trailers = {});
    static Task<void> run(Http2Peer* self);
    Task<void> say();
    h2::Session& session() { return *session_; }
    Http2Message& message(h2::StreamId id) { return messages[id]; }

    std::map<h2::StreamId, Http2Message> messages;
    std::string authority = "shop";
    bool goaway = false;
    bool hold = false;  // received bytes are not credited
    std::map<h2::StreamId, std::string> unsent;

private:
    void offer(h2::StreamId id);
    void on_request(h2::StreamId id, const h2::RequestEvent& request) override;
    void on_response(h2::StreamId id, const h2::ResponseEvent& response) override;
    void on_data(h2::StreamId id, std::span<const std::uint8_t> bytes) override;
    void on_trailers(h2::StreamId id, std::span<const Field> fields) override;
    void on_stream_end(h2::StreamId id) override;
    void on_closed(h2::StreamId id) override {}
    void on_reset(h2::StreamId id, h2::ErrorCode code) override { messages[id].reset = code; }
    void on_writable(h2::StreamId id) override { offer(id); }
    void on_goaway(h2::StreamId, h2::ErrorCode) override { goaway = true; }

    World& world_;
    ScriptedPeer& transport_;
    Answer answer_;
    std::unique_ptr<h2::Session> session_;
    std::vector<h2::StreamId> ready_;  // requests to be answered after feed()
};

// An application that speaks only HTTP/2.
class Http2App {
public:
    Http2App(World& world, const std::string& address, Http2Peer::Answer answer);
    std::size_t connections() const { return app_.connections; }

    std::vector<Http2Message> requests;  // whole ones, as they came
    h2::SessionOptions options;
    std::size_t most_at_once = 0;  // connections

private:
    static Task<void> serve(App* app, ScriptedPeer* transport, std::size_t connection);
    std::size_t open_ = 0;
    Http2Peer::Answer answer_;
    App app_;
};

// A client that sends what `script` asks for and reads until everything has ended; the messages in
// the order of their streams.
std::vector<Http2Message> talk(World& world,
                               std::function<void(Http2Peer&)> script,
                               Duration* took = nullptr,
                               const std::string& to = "10.96.0.1:80");

// Requests are known to the client before anything of them has come back.
void ask(Http2Peer& peer,
         const std::string& method,
         const std::string& path,
         const std::vector<Field>& fields = {},
         const std::string& body = "");

}  // namespace orlop::sim
