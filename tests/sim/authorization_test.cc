// AuthorizationPolicy where it is enforced: at the callee's end of a tunnel, at its plaintext port,
// and in the caller's proxy when both ends are on one node.
#include "tests/sim/http2_peer.h"

namespace orlop::sim {
namespace {

const SpiffeId client_id{"cluster.local", "default", "client"};
const SpiffeId shop_id{"cluster.local", "default", "shop"};

std::string policy(const std::string& spec) {
    return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
           "metadata: {name: rules, namespace: default}\nspec:\n"
           "  selector: {matchLabels: {app: shop}}\n" +
           spec;
}
const std::string no_clients = policy("  action: DENY\n  rules:\n  - from:\n    - source: "
                                      "{principals: [cluster.local/ns/default/sa/client]}\n");
const std::string only_others = policy("  rules:\n  - from:\n    - source: "
                                       "{principals: [cluster.local/ns/default/sa/other]}\n");
const std::string only_open_reads = policy(
    "  rules:\n  - to:\n    - operation: {methods: [GET], paths: ['/open*', '/item/{*}']}\n");
const std::string no_deletes =
    policy("  action: DENY\n  rules:\n  - to:\n    - operation: {methods: [DELETE]}\n");

// The client on n1; the shop on `where`, which has confirmed its capture.
struct Mesh {
    explicit Mesh(const std::string& where, const std::string& port_name = "http") {
        Node* callee = &world.node(0);
        if (where == "n2") {
            callee = &world.add_node("n2");
        }
        world.service("shop", 1, port_name);
        world.pod("shop-1", "10.0.0.1", "shop", where, "ambient.istio.io/redirection: enabled");
        world.give_identity(world.node(0), client_id);
        world.give_identity(*callee, shop_id);
        world.open_callee(*callee, "shop-1", "10.0.0.1");
    }
    std::uint64_t count(telemetry::CoreCounter counter, std::size_t core) {
        return world.metrics.core(core).value(counter);
    }
    Answer ask(const std::string& method, const std::string& path) {
        return world.ask(method + " " + path + " HTTP/1.1\r\nhost: shop\r\nx-request-id: " + path +
                         "\r\n\r\n");
    }
    World world;
};

TEST(Authorization, a_denied_identity_gets_403_wherever_the_callee_is) {
    for (const char* where : {"n1", "n2"}) {
        for (const std::string& rules : {no_clients, only_others, policy("")}) {
            Mesh mesh(where);
            App app(
                mesh.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
            EXPECT_EQ(mesh.ask("GET", "/before").status, 200) << where;
            mesh.world.apply("policy", rules);
            Answer answer = mesh.ask("GET", "/after");
            EXPECT_EQ(answer.status, 403) << where << rules;
            EXPECT_EQ(answer.body, "RBAC: access denied");
            EXPECT_EQ(mesh.world.details("/after"),
                      rules == no_clients
                          ? "rbac_access_denied_matched_policy[ns[default]-policy[rules]-rule[0]]"
                          : "rbac_access_denied_matched_policy[none]");
            EXPECT_EQ(app.requests.size(), 1u) << "the app saw a denied request";
            mesh.world.withdraw("policy");
            EXPECT_EQ(mesh.ask("GET", "/again").status, 200) << where;
            mesh.world.finish();
        }
    }
}

TEST(Authorization, a_denial_is_never_retried) {
    Mesh mesh("n2");
    App app(mesh.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    mesh.world.apply("policy", only_others);
    mesh.world.apply("vs",
                     "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                     "metadata: {name: v, namespace: default}\nspec:\n  hosts: [shop]\n  http:\n"
                     "  - route: [{destination: {host: shop}}]\n"
                     "    retries: {attempts: 5, retryOn: 'connect-failure,5xx,retriable-4xx'}\n");
    EXPECT_EQ(mesh.ask("GET", "/x").status, 403);
    EXPECT_EQ(mesh.count(telemetry::CoreCounter::refused_authorization, 1), 1u);
    mesh.world.finish();
}

TEST(Authorization, requests_are_judged_one_by_one_at_the_callees_end) {
    struct Row {
        const char* method;
        const char* path;
        int status;
    };
    const Row table[] = {
        {"GET", "/open", 200},
        {"GET", "/open/door", 200},
        {"GET", "/item/7", 200},
        {"GET", "/item/7/price", 403},
        {"GET", "/secret", 403},
        {"GET", "/open/../secret", 403},
        {"GET", "//open", 403},
        {"DELETE", "/open", 403},
        {"GET", "/open?x=/secret", 200},
    };
    for (const char* where : {"n1", "n2"}) {
        Mesh mesh(where);
        App app(mesh.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, request.line())};
        });
        mesh.world.apply("policy", only_open_reads);
        std::size_t reached = 0;
        for (const Row& row : table) {
            Answer answer = mesh.ask(row.method, row.path);
            EXPECT_EQ(answer.status, row.status) << where << " " << row.method << " " << row.path;
            reached += row.status == 200 ? 1 : 0;
            if (row.status == 403) {
                EXPECT_EQ(answer.body, "RBAC: access denied");
            }
        }
        EXPECT_EQ(app.requests.size(), reached);
        EXPECT_EQ(mesh.count(telemetry::CoreCounter::path_hbone, 0), std::size(table))
            << "where requests are judged the way leads through the callee's end";
        std::size_t callee = mesh.world.node(where == std::string("n1") ? 0 : 1).core->index();
        EXPECT_EQ(mesh.count(telemetry::CoreCounter::requests_denied, callee),
                  std::size(table) - reached);
        mesh.world.finish();
    }
}

TEST(Authorization, http2_requests_are_judged_one_by_one_too) {
    for (const char* where : {"n1", "n2"}) {
        for (const char* port : {"http2", "grpc", "web"}) {
            Mesh mesh(where, port);
            Http2App app(mesh.world,
                         "10.0.0.1:9090",
                         [](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                             peer.respond(id, 200, {}, message.path);
                         });
            mesh.world.apply("policy", only_open_reads);
            auto got = talk(mesh.world, [](Http2Peer& peer) {
                ask(peer, "GET", "/open");
                ask(peer, "GET", "/closed");
                ask(peer, "POST", "/open", {{"content-type", "application/grpc"}}, "12345");
                ask(peer, "GET", "/open/more");
            });
            ASSERT_EQ(got.size(), 4U);
            EXPECT_EQ(got[0].status, 200) << where << " " << port;
            EXPECT_EQ(got[1].status, 403) << where << " " << port;
            EXPECT_EQ(got[2].fields["grpc-status"], "7") << where << " " << port;
            EXPECT_EQ(got[3].body, "/open/more") << where << " " << port;
            EXPECT_EQ(app.requests.size(), 2U);
            mesh.world.finish();
        }
    }
}

TEST(Authorization, the_callees_end_says_which_rule_and_edits_nothing) {
    Mesh mesh("n2");
    App app(mesh.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    mesh.world.apply("policy", no_deletes);
    EXPECT_EQ(mesh.ask("GET", "/id-1").status, 200);
    ASSERT_EQ(app.requests.size(), 1u);
    EXPECT_EQ(app.requests[0].field("x-envoy-attempt-count"), "1");
    EXPECT_EQ(app.requests[0].field("x-request-id"), "/id-1");
    EXPECT_EQ(mesh.ask("DELETE", "/id-2").status, 403);
    std::string text = mesh.world.explain("/id-2", 1);
    EXPECT_NE(text.find("rbac_access_denied_matched_policy[ns[default]-policy[rules]-rule[0]]"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("AuthorizationPolicy default/rules"), std::string::npos) << text;
    mesh.world.finish();
}

TEST(Authorization, bodies_pass_the_callees_end_whole) {
    Mesh mesh("n2");
    App app(mesh.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
        return Reply{chunked(200, {request.body, "|", std::string(100'000, 'b')})};
    });
    mesh.world.apply("policy", no_deletes);
    std::string body(200'000, 'a');
    Answer answer = mesh.world.ask("POST /x HTTP/1.1\r\nhost: shop\r\ncontent-length: " +
                                   std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, body + "|" + std::string(100'000, 'b'));
    mesh.world.finish();
}

// A raw conversation through the client's captured port.
struct Talk {
    std::string first;
    Duration silence{};  // before `first`
    std::string got;
    bool ended = false;
    bool over = false;
};
Task<void> talk(World* world, Talk* talk, std::string to) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse(to));
    co_await Sleep(world->loop, talk->silence);
    co_await peer.send(talk->first);
    talk->got = co_await peer.receive_exactly(talk->first.size());
    std::string more = co_await peer.receive_all();
    talk->got += more;
    talk->ended = peer.ended();
    talk->over = true;
}

Task<void> echo(App* app, ScriptedPeer* peer, std::size_t) {
    while (true) {
        std::string some = co_await peer->receive_some();
        if (some.empty() || co_await peer->send(some) != 0) {
            co_return;
        }
    }
}

TEST(Authorization, live_connections_are_cut_when_they_are_no_longer_allowed) {
    for (const char* where : {"n1", "n2"}) {
        Mesh mesh(where, "tcp");
        App app(mesh.world, "10.0.0.1:9090", echo);
        Talk one{"hello"};
        mesh.world.scope().spawn(&talk, &mesh.world, &one, std::string("10.96.0.1:80"));
        mesh.world.run_for(seconds(1));
        EXPECT_EQ(one.got, "hello") << where;
        mesh.world.apply("other", only_open_reads);  // never matches bytes: nothing is granted
        mesh.world.withdraw("other");
        EXPECT_TRUE(mesh.world.run_until([&] { return one.over; }, seconds(5))) << where;
        EXPECT_FALSE(one.ended) << "a cut is a reset";

        Talk two{"again"};
        mesh.world.scope().spawn(&talk, &mesh.world, &two, std::string("10.96.0.1:80"));
        mesh.world.run_for(seconds(1));
        mesh.world.apply("policy", only_others + "    - source: {namespaces: [default]}\n");
        mesh.world.run_for(seconds(1));
        EXPECT_FALSE(two.over) << "an allowed connection was cut";
        mesh.world.apply("policy", no_clients);
        EXPECT_TRUE(mesh.world.run_until([&] { return two.over; }, seconds(5))) << where;
        mesh.world.finish();
    }
}

// A warm stream that was bytes so far must not stay unread.
TEST(Authorization, a_new_policy_about_requests_holds_for_the_next_request) {
    for (const char* where : {"n1", "n2"}) {
        Mesh mesh(where);
        App app(mesh.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
        EXPECT_EQ(mesh.ask("DELETE", "/before").status, 200);
        EXPECT_EQ(mesh.ask("DELETE", "/warm").status, 200);
        EXPECT_EQ(app.connections, 1u);
        mesh.world.apply("policy", no_deletes);
        EXPECT_EQ(mesh.ask("DELETE", "/after").status, 403) << where;
        EXPECT_EQ(mesh.ask("GET", "/after").status, 200) << where;
        EXPECT_EQ(app.requests.size(), 3u);
        mesh.world.finish();
    }
}

TEST(Authorization, bytes_are_refused_where_only_requests_are_allowed) {
    for (const char* where : {"n1", "n2"}) {
        Mesh mesh(where, "tcp");
        App app(mesh.world, "10.0.0.1:9090", echo);
        mesh.world.apply("policy", only_open_reads);
        Talk one{"GET /open HTTP/1.1\r\nhost: shop\r\n\r\n"};
        mesh.world.scope().spawn(&talk, &mesh.world, &one, std::string("10.96.0.1:80"));
        EXPECT_TRUE(mesh.world.run_until([&] { return one.over; }, seconds(5))) << where;
        EXPECT_EQ(one.got, "") << where;
        EXPECT_EQ(app.connections, 0u);
        mesh.world.finish();
    }
}

TEST(Authorization, neither_silence_nor_lenient_parsing_gets_past_a_rule) {
    const std::string request = "DELETE /x HTTP/1.1\r\nhost: shop\r\n\r\n";
    struct Row {
        std::string first;
        Duration silence;
        const char* status;
    };
    const Row table[] = {
        {request, {}, "HTTP/1.1 403"},
        {request, seconds(2), "HTTP/1.1 403"},  // bytes to the caller's node by then
        {"\r\n" + request, seconds(2), "HTTP/1.1 4"},
        {"delete /x HTTP/1.1\r\nhost: shop\r\n\r\n", seconds(2), "HTTP/1.1 200"},
        {"DELETE /x HTTP/0.9\r\n\r\n", seconds(2), "HTTP/1.1 "},
    };
    for (const Row& row : table) {
        Mesh mesh("n2", "web");  // undeclared
        App app(mesh.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            EXPECT_FALSE(request.line().starts_with("DELETE"));
            return Reply{};
        });
        mesh.world.apply("policy", no_deletes);
        Talk one{row.first, row.silence};
        mesh.world.scope().spawn(&talk, &mesh.world, &one, std::string("10.96.0.1:80"));
        mesh.world.run_for(seconds(5));
        EXPECT_TRUE(one.got.starts_with(row.status)) << row.first << " -> " << one.got;
        mesh.world.node(0).core->force();
        mesh.world.finish();
    }
}

TEST(Authorization, plaintext_without_identity_is_judged_at_the_pods_port) {
    struct Row {
        std::string rules;
        std::string got;
    };
    const Row table[] = {
        {only_others, ""},  // closed before a byte
        {only_open_reads, "HTTP/1.1 403"},
    };
    for (const Row& row : table) {
        Mesh mesh("n2");
        mesh.world.apply("policy", row.rules);
        Talk one{"GET /secret HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"};
        mesh.world.scope().spawn(&talk, &mesh.world, &one, std::string("10.0.0.1:9091"));
        EXPECT_TRUE(mesh.world.run_until([&] { return one.over; }, seconds(5)));
        EXPECT_EQ(one.got.substr(0, 12), row.got);
        mesh.world.finish();
    }
}

TEST(Authorization, http_metrics_of_the_callees_end_exist_when_asked_for) {
    for (const char* wanted : {"false", "true"}) {
        Mesh mesh("n2");
        App app(mesh.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
        mesh.world.apply("mesh",
                         "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
                         "spec: {inboundHttpTelemetry: " +
                             std::string(wanted) + "}\n");
        EXPECT_EQ(mesh.ask("GET", "/x").status, 200);
        std::string text = telemetry::prometheus_text(mesh.world.metrics, {}, {});
        bool http = false;
        for (std::size_t at = 0; (at = text.find("istio_requests_total{", at)) != text.npos; ++at) {
            std::string line = text.substr(at, text.find('\n', at) - at);
            http = http ||
                   (line.find("reporter=\"destination\"") != line.npos &&
                    line.find("connection_security_policy=\"mutual_tls\"") != line.npos &&
                    line.find("source_principal=\"spiffe://cluster.local/ns/default/sa/client\"") !=
                        line.npos);
        }
        EXPECT_EQ(http, wanted == std::string("true"));
        mesh.world.finish();
    }
}

TEST(TcpMetrics, grow_every_five_seconds_while_a_connection_lasts) {
    Mesh mesh("n2", "tcp");
    App app(mesh.world, "10.0.0.1:9090", echo);
    Talk one{"hello"};
    mesh.world.scope().spawn(&talk, &mesh.world, &one, std::string("10.96.0.1:80"));
    auto received = [&](std::size_t core) {
        std::uint64_t sum = 0;
        mesh.world.metrics.core(core).each_traffic(
            [&](const telemetry::TrafficSeries& series) { sum += series.received(); });
        return sum;
    };
    mesh.world.run_for(seconds(1));
    EXPECT_EQ(received(0) + received(1), 0u);
    mesh.world.run_for(seconds(6));
    EXPECT_EQ(received(0), 5u);
    EXPECT_EQ(received(1), 5u);
    mesh.world.node(0).core->force();
    mesh.world.finish();
    EXPECT_EQ(received(1), 5u);
}

}  // namespace
}  // namespace orlop::sim
