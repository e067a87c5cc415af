#include "tests/sim/http2_peer.h"

#include <algorithm>

namespace orlop::sim {
namespace {

std::span<const std::uint8_t> as_bytes(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// A client that sends what `script` asks for and reads until everything has ended.
struct Client {
    World* world;
    std::function<void(Http2Peer&)> script;
    std::string to;
    std::map<h2::StreamId, Http2Message> messages;
    bool goaway = false;
    Duration took{};

    static Task<void> run(Client* self) {
        ScriptedPeer transport(self->world->loop, self->world->network.socket());
        co_await transport.connect(*SocketAddress::parse(self->to));
        Http2Peer peer(*self->world, transport, h2::Role::client);
        self->script(peer);
        runtime::Scope reading(self->world->loop);
        reading.spawn(&Http2Peer::run, &peer);
        while (!finished(peer)) {
            co_await Sleep(self->world->loop, milliseconds(1));
        }
        self->messages = peer.messages;
        self->goaway = peer.goaway;
        self->took = self->world->elapsed();
        peer.session().goaway();
        co_await peer.say();
        transport.end_sending();
        co_await reading.join();
    }
    static bool finished(const Http2Peer& peer) {
        return std::ranges::all_of(peer.messages, [](const auto& entry) {
            return entry.second.ended || entry.second.reset.has_value();
        });
    }
};

}  // namespace

std::vector<Http2Message>
talk(World& world, std::function<void(Http2Peer&)> script, Duration* took, const std::string& to) {
    Client client{&world, [&](Http2Peer& peer) { script(peer); }, to, {}};
    world.scope().spawn(&Client::run, &client);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    if (took != nullptr) {
        *took = client.took;
    }
    std::vector<Http2Message> out;
    for (auto& [id, message] : client.messages) {
        out.push_back(std::move(message));
    }
    return out;
}

void ask(Http2Peer& peer,
         const std::string& method,
         const std::string& path,
         const std::vector<Field>& fields,
         const std::string& body) {
    peer.messages[peer.request(method, path, fields, body)];
}

Http2Peer::Http2Peer(World& world,
                     ScriptedPeer& transport,
                     h2::Role role,
                     Answer answer,
                     const h2::SessionOptions& options)
    : world_(world), transport_(transport), answer_(std::move(answer)),
      session_(std::move(*h2::Session::create(role, *this, options))) {}

h2::StreamId Http2Peer::request(const std::string& method,
                                const std::string& path,
                                const std::vector<Field>& fields,
                                const std::string& body) {
    auto end = body.empty() ? h2::StreamEnd::ended : h2::StreamEnd::open;
    auto id = session_->open_request_stream({method, "http", authority, path}, fields, end);
    EXPECT_TRUE(id) << (id ? "" : id.error().context);
    if (id && !body.empty()) {
        unsent[*id] = body;
        offer(*id);
    }
    return id ? *id : h2::StreamId::none;
}

void Http2Peer::offer(h2::StreamId id) {
    auto found = unsent.find(id);
    if (found == unsent.end()) {
        return;
    }
    auto taken = session_->write(id, found->second);
    if (!taken) {
        unsent.erase(found);
        return;
    }
    found->second.erase(0, *taken);
    if (found->second.empty()) {
        unsent.erase(found);
        session_->end(id);
    }
}

void Http2Peer::respond(h2::StreamId id,
                        int status,
                        const std::vector<Field>& fields,
                        const std::string& body,
                        const std::vector<Field>& trailers) {
    bool whole = body.empty() && trailers.empty();
    auto told = session_->respond(id,
                                  static_cast<std::uint16_t>(status),
                                  fields,
                                  whole ? h2::StreamEnd::ended : h2::StreamEnd::open);
    EXPECT_TRUE(told) << (told ? "" : told.error().context);
    if (whole) {
        return;
    }
    if (trailers.empty()) {
        unsent[id] = body;
        offer(id);
        return;
    }
    EXPECT_EQ(*session_->write(id, body), body.size()) << "trailers go with short bodies here";
    EXPECT_TRUE(session_->end(id, trailers));
}

Task<void> Http2Peer::say() {
    while (session_->wants_write()) {
        std::vector<std::uint8_t> ready;
        session_->take_output(ready, 65536);
        if (co_await transport_.send(std::string(ready.begin(), ready.end())) != 0) {
            co_return;
        }
    }
}

Task<void> Http2Peer::run(Http2Peer* self) {
    co_await self->say();
    while (true) {
        std::string bytes = co_await self->transport_.receive_some();
        if (bytes.empty() || !self->session_->feed(as_bytes(bytes), self->world_.loop.now())) {
            break;
        }
        for (h2::StreamId id : std::exchange(self->ready_, {})) {
            self->answer_(*self, id, self->messages[id]);
        }
        co_await self->say();
    }
}

void Http2Peer::on_request(h2::StreamId id, const h2::RequestEvent& request) {
    Http2Message& message = messages[id];
    message.method = request.method;
    message.path = request.path;
    message.authority = request.authority;
    for (const Field& field : request.fields) {
        message.fields.emplace(field.name, field.value);
    }
}

void Http2Peer::on_response(h2::StreamId id, const h2::ResponseEvent& response) {
    Http2Message& message = messages[id];
    if (response.status < 200) {
        message.interim.push_back(response.status);
        return;
    }
    message.status = response.status;
    for (const Field& field : response.fields) {
        message.fields.emplace(field.name, field.value);
    }
}

void Http2Peer::on_data(h2::StreamId id, std::span<const std::uint8_t> bytes) {
    messages[id].body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!hold) {
        session_->consume(id, bytes.size());
    }
}

void Http2Peer::on_trailers(h2::StreamId id, std::span<const Field> fields) {
    for (const Field& field : fields) {
        messages[id].trailers.emplace(field.name, field.value);
    }
}

void Http2Peer::on_stream_end(h2::StreamId id) {
    messages[id].ended = true;
    if (answer_) {
        ready_.push_back(id);
    }
}

Http2App::Http2App(World& world, const std::string& address, Http2Peer::Answer answer)
    : answer_(std::move(answer)), app_(world, address, &Http2App::serve) {
    app_.context = this;
}

Task<void> Http2App::serve(App* app, ScriptedPeer* transport, std::size_t /*connection*/) {
    auto* self = static_cast<Http2App*>(app->context);
    Http2Peer peer(
        app->world(),
        *transport,
        h2::Role::server,
        [self](Http2Peer& at, h2::StreamId id, const Http2Message& message) {
            self->requests.push_back(message);
            self->answer_(at, id, message);
        },
        self->options);
    self->most_at_once = std::max(self->most_at_once, ++self->open_);
    co_await Http2Peer::run(&peer);
    --self->open_;
}

}  // namespace orlop::sim
