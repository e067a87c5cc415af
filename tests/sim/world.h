// The whole proxy on the fake ring: nodes with a ProxyCore each, a mesh written in YAML, scripted
// applications and clients, one virtual clock.
//
// A pod of the world is a name, an address and, when it is enrolled, its listeners on the fake
// network. Captured connections arrive at the outbound listener of the one calling pod, which
// stands for every address with service port 80, 81 or 82; applications listen on their own
// addresses. finish() ends everything and proves that nothing is left: no coroutine, no socket, no
// lent buffer.
//
//     World world;
//     App app(world, "10.0.0.1:9090", answer_with("hello"));
//     Answer answer = world.get("http://shop/");
//     world.finish();
#pragma once

#include "daemon/control/compile.h"
#include "daemon/control/object_store.h"
#include "daemon/net/tls_identity.h"
#include "daemon/proxy/core.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/fake_peer.h"
#include "daemon/runtime/scope.h"
#include "mtls/ca.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace orlop::sim {

using runtime::FakeBackend;
using runtime::FakeEnd;
using runtime::FakeFaults;
using runtime::FakeOptions;
using runtime::ScriptedPeer;
using runtime::Sleep;
using runtime::Task;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class World;

// Sockets of every network; remembers which source address each was asked for.
class Sockets final : public net::SocketSource {
public:
    explicit Sockets(FakeBackend& backend) : backend_(backend) {}
    Result<int> open_socket(const net::Network& network, const net::SocketWish& wish) override;
    std::uint64_t opened() const { return opened_; }
    std::optional<net::KeepAlive> last_keepalive;

private:
    FakeBackend& backend_;
    std::uint64_t opened_ = 0;
    std::uint16_t next_port_ = 20'000;
};

// One HTTP message as read from the wire, by a reader that trusts nothing it was not sent.
struct Message {
    std::string head;  // with the empty line
    std::string body;
    std::string trailers;
    bool complete = false;  // framing was satisfied; until-close bodies need an orderly end
    int status = 0;         // responses
    std::string line() const { return head.substr(0, head.find("\r\n")); }
    std::string field(const std::string& name) const;  // lower-case name; "" when absent
    std::size_t count(const std::string& name) const;
};
using Answer = Message;
using Request = Message;

enum class Of : unsigned char { request, response, response_to_head };
// 1xx heads before a response are kept in `interim`.
Task<Message> read_message(ScriptedPeer* peer, Of of, std::vector<std::string>* interim = nullptr);

struct Reply {
    std::string bytes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    Duration delay{};
    enum class Then : unsigned char { keep, close, reset, half_close } then = Then::keep;
};
std::string response(int status, const std::string& body, const std::string& fields = "");
std::string
chunked(int status, const std::vector<std::string>& chunks, const std::string& trailers = "");

// An application: reads requests, records them, sends what `answer` says.
class App {
public:
    using AnswerFor = std::function<Reply(const Request& request, std::size_t number)>;
    using Serve = Task<void> (*)(App* app, ScriptedPeer* peer, std::size_t connection);
    App(World& world, const std::string& address, AnswerFor answer);
    App(World& world, const std::string& address, Serve serve);
    ~App();

    World& world() { return world_; }
    std::vector<Request> requests;
    std::size_t connections = 0;
    void* context = nullptr;  // of a Serve

private:
    friend class World;
    static Task<void> accept_all(App* app);
    static Task<void> serve_one(App* app, int fd, std::size_t number);
    static Task<void> answer_requests(App* app, ScriptedPeer* peer, std::size_t connection);

    World& world_;
    runtime::ScriptedListener listener_;
    AnswerFor answer_;
    Serve serve_ = nullptr;
};

struct Network final : net::Network {};

struct Node {
    Node(World& world, std::string name, std::size_t index);
    std::string name;
    std::unique_ptr<proxy::ProxyCore> core;
    control::Compiler compiler;
    bool down = false;
};

class World {
public:
    using Wrap = std::unique_ptr<runtime::Backend> (*)(std::unique_ptr<FakeBackend> backend);
    // `wrap` may put something between the loop and the fake ring.
    explicit World(FakeOptions options = {}, Wrap wrap = nullptr);
    ~World();

    // --- the mesh ---
    void apply(const std::string& name, const std::string& yaml);
    void withdraw(const std::string& name);
    void publish();
    // A service `name` with virtual address 10.96.0.`n`, port 80 (http), for pods with app: name.
    void service(const std::string& name, int n, const std::string& port_name = "http");
    void pod(const std::string& name,
             const std::string& ip,
             const std::string& app,
             const std::string& node = "n2",
             const std::string& annotations = "");
    Node& node(std::size_t index) { return *nodes_[index]; }
    Node& add_node(const std::string& name);
    // The calling pod of n1 and its capture; World() has done so for "client", 10.0.9.1.
    void open_client();
    // Opens 15008 and the plaintext ports of a pod on its node; certificates for both ends.
    void open_callee(Node& node, const std::string& pod, const std::string& ip);
    void give_identity(Node& node, const SpiffeId& id);

    // --- running ---
    runtime::Scope& scope() { return scope_; }
    FakeEnd settle(Duration limit = minutes(10));
    void run_for(Duration duration);
    bool run_until(const std::function<bool()>& done, Duration limit = minutes(10));
    Answer ask(const std::string& bytes, const std::string& to = "10.96.0.1:80");
    Answer get(const std::string& path = "/", const std::string& fields = "");
    // The explanation of the last request with this x-request-id.
    std::string explain(const std::string& id, std::size_t node = 0);
    // flags of that request as the access log shows them: "-", "UF", "UT,URX"
    std::string flags(const std::string& id);
    std::string details(const std::string& id);
    Duration elapsed() const { return network.virtual_now() - begun_; }
    std::uint64_t requests() { return metrics.core(0).value(telemetry::CoreCounter::requests); }

    void finish();

    std::unique_ptr<FakeBackend> owned;
    FakeBackend& network;
    runtime::Loop loop;
    Sockets sockets;
    telemetry::Metrics metrics{4};
    std::vector<App*> apps;

private:
    friend class App;
    runtime::Scope scope_;
    runtime::Scope apps_scope_;
    control::ObjectStore store_;
    std::int64_t clock_ = 0;
    std::uint64_t generation_ = 0;
    std::vector<std::unique_ptr<Node>> nodes_;
    net::NetworkPtr fake_network_ = std::make_shared<Network>();
    std::unique_ptr<mtls::CertificateAuthority> ca_;
    Instant begun_;
    bool finished_ = false;
};

// A client connection for scripts.
Task<void> ask_once(World* world, std::string bytes, std::string to, Answer* answer);

}  // namespace orlop::sim
