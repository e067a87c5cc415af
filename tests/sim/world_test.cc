#include "daemon/control/decode.h"
#include "daemon/proxy/conversation.h"
#include "mtls/context.h"
#include "tests/sim/world.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

namespace orlop::sim {

// --- sockets -------------------------------------------------------------------------------------

Result<int> Sockets::open_socket(const net::Network& network, const net::SocketWish& wish) {
    ++opened_;
    last_keepalive = wish.keepalive;
    SocketAddress local;
    if (wish.deliver_from) {
        local = {*wish.deliver_from, next_port_++};
    }
    return backend_.socket(local);
}

// --- messages ------------------------------------------------------------------------------------

namespace {

std::string lower(std::string text) {
    std::ranges::transform(
        text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::vector<std::string> values(const std::string& head, const std::string& name) {
    std::vector<std::string> found;
    std::size_t at = head.find("\r\n");
    while (at != std::string::npos && at + 2 < head.size()) {
        std::size_t begin = at + 2;
        at = head.find("\r\n", begin);
        std::string line = head.substr(begin, at - begin);
        std::size_t colon = line.find(':');
        if (colon != std::string::npos && lower(line.substr(0, colon)) == name) {
            std::size_t value = line.find_first_not_of(" \t", colon + 1);
            found.push_back(value == std::string::npos ? "" : line.substr(value));
        }
    }
    return found;
}

Task<bool> read_chunks(ScriptedPeer* peer, Message* message) {
    while (true) {
        std::string line = co_await peer->receive_until("\r\n");
        if (!line.ends_with("\r\n")) {
            co_return false;
        }
        std::size_t size = std::stoul(line, nullptr, 16);
        if (size == 0) {
            break;
        }
        std::string data = co_await peer->receive_exactly(size + 2);
        if (data.size() != size + 2 || !data.ends_with("\r\n")) {
            co_return false;
        }
        message->body.append(data, 0, size);
    }
    while (true) {
        std::string line = co_await peer->receive_until("\r\n");
        if (!line.ends_with("\r\n")) {
            co_return false;
        }
        if (line == "\r\n") {
            co_return true;
        }
        message->trailers += line;
    }
}

}  // namespace

std::string Message::field(const std::string& name) const {
    auto found = values(head, name);
    return found.empty() ? "" : found.front();
}

std::size_t Message::count(const std::string& name) const {
    return values(head, name).size();
}

Task<Message> read_message(ScriptedPeer* peer, Of of, std::vector<std::string>* interim) {
    Message message;
    while (true) {
        message.head = co_await peer->receive_until("\r\n\r\n");
        if (!message.head.ends_with("\r\n\r\n")) {
            co_return message;
        }
        if (of == Of::request) {
            break;
        }
        message.status = std::stoi(message.head.substr(9, 3));
        if (message.status >= 200 || message.status == 101) {
            break;
        }
        if (interim != nullptr) {
            interim->push_back(message.head);
        }
    }
    bool bodyless = of == Of::response_to_head || message.status == 204 || message.status == 304 ||
                    message.status == 101;
    if (bodyless) {
        message.complete = true;
    } else if (lower(message.field("transfer-encoding")) == "chunked") {
        message.complete = co_await read_chunks(peer, &message);
    } else if (message.count("content-length") != 0) {
        std::size_t length = std::stoul(message.field("content-length"));
        message.body = co_await peer->receive_exactly(length);
        message.complete = message.body.size() == length;
    } else if (of == Of::request) {
        message.complete = true;
    } else {
        message.body = co_await peer->receive_all();
        message.complete = peer->ended();
    }
    co_return message;
}

std::string response(int status, const std::string& body, const std::string& fields) {
    return "HTTP/1.1 " + std::to_string(status) +
           " Status\r\ncontent-length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" +
           body;
}

std::string
chunked(int status, const std::vector<std::string>& chunks, const std::string& trailers) {
    std::string text =
        "HTTP/1.1 " + std::to_string(status) + " Status\r\ntransfer-encoding: chunked\r\n\r\n";
    for (const auto& chunk : chunks) {
        text += fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk);
    }
    return text + "0\r\n" + trailers + "\r\n";
}

// --- applications --------------------------------------------------------------------------------

App::App(World& world, const std::string& address, AnswerFor answer)
    : world_(world), listener_(world.loop, world.network.listen(*SocketAddress::parse(address))),
      answer_(std::move(answer)), serve_(&App::answer_requests) {
    world.apps.push_back(this);
    world.apps_scope_.spawn(&App::accept_all, this);
}

App::App(World& world, const std::string& address, Serve serve) : App(world, address, AnswerFor()) {
    serve_ = serve;
}

App::~App() {
    std::erase(world_.apps, this);
}

Task<void> App::accept_all(App* app) {
    while (true) {
        int fd = co_await app->listener_.accept();
        if (fd < 0) {
            co_return;
        }
        app->world_.apps_scope_.spawn(&App::serve_one, app, fd, app->connections++);
    }
}

Task<void> App::serve_one(App* app, int fd, std::size_t number) {
    ScriptedPeer peer(app->world_.loop, fd);
    co_await app->serve_(app, &peer, number);
}

Task<void> App::answer_requests(App* app, ScriptedPeer* peer, std::size_t connection) {
    while (true) {
        Request request = co_await read_message(peer, Of::request);
        if (!request.complete) {
            co_return;
        }
        app->requests.push_back(request);
        Reply reply = app->answer_(request, app->requests.size() - 1);
        co_await Sleep(app->world_.loop, reply.delay);
        if (!reply.bytes.empty() && co_await peer->send(reply.bytes) != 0) {
            co_return;
        }
        switch (reply.then) {
        case Reply::Then::keep:
            break;
        case Reply::Then::close:
            co_return;
        case Reply::Then::reset:
            peer->reset();
            co_return;
        case Reply::Then::half_close:
            peer->end_sending();
            (void)co_await peer->receive_all();
            co_return;
        }
    }
}

// --- nodes and the mesh --------------------------------------------------------------------------

Node::Node(World& world, std::string given, std::size_t index)
    : name(std::move(given)), core(std::make_unique<proxy::ProxyCore>(
                                  world.loop, world.sockets, world.metrics.core(index), index)) {
    core->random() = telemetry::FastRandom(world.network.seed() * 16 + index);
}

World::World(FakeOptions options, Wrap wrap)
    : owned(std::make_unique<FakeBackend>(options)), network(*owned),
      loop(wrap == nullptr ? std::unique_ptr<runtime::Backend>(std::move(owned))
                           : wrap(std::move(owned))),
      sockets(network), scope_(loop), apps_scope_(loop), begun_(network.virtual_now()) {
    add_node("n1");
    apply("base", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n");
    apply("client", R"(
apiVersion: v1
kind: Pod
metadata:
  name: client
  namespace: default
  uid: uid-client
  labels: {app: client, istio.io/dataplane-mode: orlop}
spec:
  serviceAccountName: client
  nodeName: n1
  containers: [{name: c}]
status: {phase: Running, podIP: 10.0.9.1}
)");
    service("shop", 1);
    open_client();
}

World::~World() {
    if (!finished_ && !testing::Test::HasFailure()) {
        ADD_FAILURE() << "a World must be finished";
    }
    if (!finished_) {
        std::fprintf(stderr, "%s\n", network.describe().c_str());
        std::_Exit(1);  // what is still alive refers to what is about to die
    }
}

Node& World::add_node(const std::string& name) {
    nodes_.push_back(std::make_unique<Node>(*this, name, nodes_.size()));
    return *nodes_.back();
}

void World::apply(const std::string& name, const std::string& yaml) {
    store_.replace_source(
        name,
        control::decode_text(yaml, {.file = name, .origin = control::Origin::config}),
        ++clock_);
    publish();
}

void World::withdraw(const std::string& name) {
    store_.remove_source(name);
    publish();
}

void World::publish() {
    ++generation_;
    for (auto& node : nodes_) {
        auto result =
            node->compiler.compile(store_, {.node = node->name, .generation = generation_});
        if (!node->down) {
            node->core->publish(result.snapshot);
        }
    }
}

void World::service(const std::string& name, int n, const std::string& port_name) {
    apply("service-" + name,
          fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: {0}, namespace: default}}\n"
                      "spec:\n  clusterIP: 10.96.0.{1}\n  ports:\n"
                      "  - {{port: 80, targetPort: 9090, name: {2}}}\n  selector: {{app: {0}}}\n",
                      name,
                      n,
                      port_name));
}

void World::pod(const std::string& name,
                const std::string& ip,
                const std::string& app,
                const std::string& node,
                const std::string& annotations) {
    apply("pod-" + name,
          fmt::format("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {0}\n  namespace: default\n"
                      "  uid: uid-{0}\n  labels: {{app: {2}{5}}}\n  annotations: {{{4}}}\n"
                      "spec:\n  serviceAccountName: {2}\n  nodeName: {3}\n"
                      "  containers:\n  - name: c\n    ports: [{{containerPort: 9090}}]\n"
                      "status: {{phase: Running, podIP: {1}}}\n",
                      name,
                      ip,
                      app,
                      node,
                      annotations,
                      annotations.empty() ? "" : ", istio.io/dataplane-mode: orlop"));
}

void World::open_client() {
    node(0).core->add_pod("uid-client", fake_network_);
    proxy::PodListeners listeners;
    listeners.outbound = UniqueFd(network.listen({IpAddress{}, 80}));
    node(0).core->open_pod("uid-client", std::move(listeners));
    publish();
}

void World::open_callee(Node& node, const std::string& pod, const std::string& ip) {
    node.core->add_pod("uid-" + pod, fake_network_);
    proxy::PodListeners listeners;
    listeners.inbound = UniqueFd(network.listen({*IpAddress::parse(ip), proxy::hbone_port}));
    // The pod's plaintext port; the application itself listens on the same address and port, which
    // the fake network cannot tell apart: inbound plaintext has its own port.
    network.listen_also(listeners.inbound.get(), {*IpAddress::parse(ip), 9091});
    node.core->open_pod("uid-" + pod, std::move(listeners));
    publish();
}

void World::give_identity(Node& node, const SpiffeId& id) {
    auto now = std::chrono::system_clock::now();
    if (!ca_) {
        ca_ = std::make_unique<mtls::CertificateAuthority>(
            mtls::CertificateAuthority::create_in_memory("cluster.local", now).value());
    }
    auto bundle =
        mtls::TrustBundle::create({"cluster.local", {}, {{"cluster.local", ca_->roots_pem()}}});
    mtls::ContextOptions options{ca_->issue(id, mtls::svid_ttl_default, now).value(),
                                 bundle.value()};
    node.core->set_identity(
        id,
        std::make_shared<net::TlsIdentity>(mtls::TlsContext::create(std::move(options)).value()));
}

// --- running -------------------------------------------------------------------------------------

FakeEnd World::settle(Duration limit) {
    return runtime::run_until(loop, network, [this] { return scope_.live() == 0; }, limit);
}

void World::run_for(Duration duration) {
    // By a timer: virtual time jumps from event to event.
    struct End {
        static void fire(void* over) { *static_cast<bool*>(over) = true; }
    };
    bool over = false;
    runtime::Timer timer(&End::fire, &over);
    loop.timers().set(timer, network.virtual_now() + duration);
    (void)runtime::run_until(loop, network, [&over] { return over; }, duration + seconds(1));
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
    return runtime::run_until(loop, network, done, limit) == FakeEnd::done;
}

Task<void> ask_once(World* world, std::string bytes, std::string to, Answer* answer) {
    ScriptedPeer peer(world->loop, world->network.socket({*IpAddress::parse("10.0.9.1"), 4000}));
    if (co_await peer.connect(*SocketAddress::parse(to)) != 0) {
        co_return;
    }
    bool head = bytes.starts_with("HEAD ");
    co_await peer.send(std::move(bytes));
    *answer = co_await read_message(&peer, head ? Of::response_to_head : Of::response);
}

Answer World::ask(const std::string& bytes, const std::string& to) {
    Answer answer;
    scope_.spawn(&ask_once, this, bytes, to, &answer);
    EXPECT_EQ(settle(), FakeEnd::done) << network.describe();
    return answer;
}

Answer World::get(const std::string& path, const std::string& fields) {
    return ask("GET " + path + " HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\n" + fields +
               "\r\n");
}

std::string World::explain(const std::string& id, std::size_t node_index) {
    return node(node_index).core->explain().find_text(id).value_or("");
}

namespace {
std::string word_after(const std::string& text, const std::string& mark) {
    std::size_t at = text.rfind(mark);
    if (at == std::string::npos) {
        return "";
    }
    at += mark.size();
    return text.substr(at, text.find_first_of(" \n", at) - at);
}
}  // namespace

std::string World::flags(const std::string& id) {
    return word_after(explain(id), " flags ");
}

std::string World::details(const std::string& id) {
    return word_after(explain(id), " details ");
}

namespace {
struct StopApp {
    static Task<void> run(runtime::ScriptedListener* listener) { co_await listener->stop(); }
};
}  // namespace

void World::finish() {
    EXPECT_EQ(settle(), FakeEnd::done) << "scripts hang\n" << network.describe();
    for (auto& node : nodes_) {
        if (!node->down) {
            node->core->shut_down([&node] { node->down = true; });
            EXPECT_TRUE(run_until([&node] { return node->down; }, minutes(2)))
                << "a core does not shut down\n"
                << network.describe();
        }
    }
    for (App* app : apps) {
        apps_scope_.spawn(&StopApp::run, &app->listener_);
    }
    EXPECT_TRUE(run_until([this] { return apps_scope_.live() == 0; }, std::chrono::hours(3)))
        << "an application still has a connection\n"
        << network.describe();
    finished_ = apps_scope_.live() == 0 && scope_.live() == 0;
    run_for(milliseconds(1));
    for (auto& node : nodes_) {
        finished_ = finished_ && node->down && node->core->scope().live() == 0;
        EXPECT_EQ(node->core->scope().live(), 0u);
        EXPECT_EQ(metrics.core(node->core->index()).value(telemetry::CoreGauge::upstream_idle), 0);
        EXPECT_EQ(metrics.core(node->core->index()).value(telemetry::CoreGauge::tunnels_active), 0);
    }
    if (!finished_) {
        return;
    }
    nodes_.clear();
    EXPECT_EQ(network.open_sockets(), 0u) << network.describe();
    EXPECT_EQ(network.lent_buffers(), 0u) << network.describe();
    EXPECT_LE(network.operations_in_flight(), 1u) << network.describe();  // the wake-up
}

// --- the world itself ----------------------------------------------------------------------------

TEST(World, answers_a_request_and_ends_clean) {
    World world;
    world.pod("shop-1", "10.0.0.1", "shop");
    App app(world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    Answer answer = world.get();
    EXPECT_EQ(answer.status, 200) << answer.head;
    EXPECT_EQ(answer.body, "ok");
    EXPECT_EQ(world.flags("test"), "-") << world.explain("test");
    world.finish();
}

}  // namespace orlop::sim
