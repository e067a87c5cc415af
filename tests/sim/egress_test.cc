// What is not in the registry, and streams that are routed by name, port or weight.
#include "tests/sim/world.h"

#include <cmath>

namespace orlop::sim {
namespace {

const std::string networking = "apiVersion: networking.istio.io/v1\n";

std::string mesh_config(const std::string& spec) {
    return "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {" + spec +
           "}\n";
}

std::string entry(const std::string& spec) {
    return networking +
           "kind: ServiceEntry\nmetadata: {name: e, namespace: default}\nspec: " + spec + "\n";
}

std::string request_to(const std::string& host, const std::string& id) {
    return "GET / HTTP/1.1\r\nHost: " + host + "\r\nx-request-id: " + id +
           "\r\nconnection: close\r\n\r\n";
}

std::string number(std::size_t value, std::size_t width) {
    std::string out;
    for (std::size_t i = width; i-- > 0;) {
        out += static_cast<char>(value >> (8 * i) & 0xff);
    }
    return out;
}

std::string sized(const std::string& body, std::size_t width) {
    return number(body.size(), width) + body;
}

// A ClientHello that asks for `name`.
std::string hello(const std::string& name) {
    std::string names = sized(number(0, 1) + sized(name, 2), 2);
    std::string extensions = number(0, 2) + sized(names, 2);
    std::string body = number(0x0303, 2) + std::string(32, 'r') + sized("", 1) +
                       sized(number(0x1301, 2), 2) + sized(number(0, 1), 1) + sized(extensions, 2);
    return number(22, 1) + number(0x0301, 2) + sized(number(1, 1) + sized(body, 3), 2);
}

// Says its name and ends.
template <char name> Task<void> greet(App*, ScriptedPeer* peer, std::size_t) {
    (void)co_await peer->receive_all();
    co_await peer->send(std::string(1, name));
    peer->end_sending();
}

struct Talk {
    std::string sent;
    std::string got;
    bool ended = false;
};

Task<void> talk(World* world, Talk* talk, std::string to) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse(to));
    co_await peer.send(talk->sent);
    peer.end_sending();
    talk->got = co_await peer.receive_all();
    talk->ended = peer.ended();
}

Talk say(World& world, const std::string& bytes, const std::string& to = "10.96.0.11:80") {
    Talk out{bytes};
    world.scope().spawn(&talk, &world, &out, to);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    return out;
}

TEST(Egress, a_service_entry_serves_its_host_wherever_the_caller_connects) {
    World world;
    world.apply("e",
                entry("{hosts: [api.example.com], resolution: STATIC, ports: [{number: 80, name: "
                      "http, protocol: HTTP, targetPort: 9090}], endpoints: [{address: "
                      "192.0.2.1}]}"));
    App app(world, "192.0.2.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    Answer answer = world.ask(request_to("api.example.com", "one"), "203.0.113.1:80");
    EXPECT_EQ(answer.status, 200) << world.explain("one");
    EXPECT_NE(world.explain("one").find("outbound|80||api.example.com"), std::string::npos);
    world.finish();
}

TEST(Egress, registry_only_answers_an_unknown_host_with_502) {
    for (const char* known_port : {"80", ""}) {
        World world;  // its service shop speaks HTTP on port 80
        if (*known_port == '\0') {
            world.withdraw("service-shop");
        }
        world.apply("m", mesh_config("outboundPolicy: REGISTRY_ONLY"));
        Answer answer = world.ask(request_to("unknown.example", "one"), "203.0.113.1:80");
        EXPECT_EQ(answer.status, 502);
        EXPECT_EQ(answer.body, "");
        std::string why = world.explain("one");
        EXPECT_NE(why.find("BlackHoleCluster"), std::string::npos) << why;
        EXPECT_NE(why.find("block_all"), std::string::npos) << why;
        world.finish();
    }
}

TEST(Egress, registry_only_closes_unknown_bytes) {
    World world;
    world.apply("m", mesh_config("outboundPolicy: REGISTRY_ONLY"));
    Talk talk = say(world, "hello", "203.0.113.1:80");
    EXPECT_EQ(talk.got, "");
    EXPECT_FALSE(talk.ended) << "a refusal is a reset";
    world.finish();
}

TEST(Egress, a_sidecar_may_refuse_what_the_mesh_allows) {
    World world;
    world.apply("s",
                networking + "kind: Sidecar\nmetadata: {name: s, namespace: default}\n"
                             "spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n");
    EXPECT_EQ(world.ask(request_to("unknown.example", "one"), "203.0.113.1:80").status, 502);
    world.finish();
}

struct Two {
    Two() {
        world.service("a", 11, "tcp");
        world.service("b", 12, "tcp");
        world.pod("a-1", "10.0.0.1", "a");
        world.pod("b-1", "10.0.0.2", "b");
    }
    World world;
    App a{world, "10.0.0.1:9090", &greet<'a'>};
    App b{world, "10.0.0.2:9090", &greet<'b'>};
};

TEST(StreamRoutes, weights_are_drawn_per_connection) {
    Two two;
    two.world.apply("v",
                    networking +
                        "kind: VirtualService\nmetadata: {name: v, namespace: default}\n"
                        "spec: {hosts: [a], tcp: [{route: [{destination: {host: a}, weight: 25}, "
                        "{destination: {host: b}, weight: 75}]}]}\n");
    constexpr int tries = 400;
    int to_b = 0;
    for (int i = 0; i < tries; ++i) {
        to_b += say(two.world, "x").got == "b" ? 1 : 0;
    }
    // 400 draws of p = 0.75: mean 300, standard deviation 8.66; the bound is z = 4.6.
    EXPECT_NEAR(to_b, 300, 40);
    two.world.finish();
}

TEST(StreamRoutes, the_source_decides_before_a_route_for_everybody) {
    Two two;
    two.world.apply("v",
                    networking +
                        "kind: VirtualService\nmetadata: {name: v, namespace: default}\n"
                        "spec: {hosts: [a], tcp: [{match: [{sourceLabels: {app: other}}], route: "
                        "[{destination: {host: a}}]}, {match: [{sourceNamespace: default, "
                        "destinationSubnets: [10.96.0.0/16]}], route: [{destination: {host: "
                        "b}}]}]}\n");
    EXPECT_EQ(say(two.world, "x").got, "b");
    two.world.finish();
}

TEST(StreamRoutes, a_route_to_nobody_closes_the_connection) {
    Two two;
    two.world.apply("v",
                    networking +
                        "kind: VirtualService\nmetadata: {name: v, namespace: default}\n"
                        "spec: {hosts: [a], tcp: [{route: [{destination: {host: nobody}}]}]}\n");
    Talk talk = say(two.world, "x");
    EXPECT_EQ(talk.got, "");
    EXPECT_FALSE(talk.ended);
    two.world.finish();
}

TEST(StreamRoutes, the_name_in_the_hello_chooses_and_the_hello_arrives_whole) {
    World world;
    world.service("front", 11, "tls");
    world.service("a", 12, "tls");
    world.service("b", 13, "tls");
    for (const char* name : {"a", "b", "front"}) {
        std::string last = name == std::string("a") ? "1" : name == std::string("b") ? "2" : "3";
        world.pod(std::string(name) + "-1", "10.0.0." + last, name);
    }
    App a(world, "10.0.0.1:9090", &greet<'a'>);
    App b(world, "10.0.0.2:9090", &greet<'b'>);
    struct Echo {
        static Task<void> serve(App*, ScriptedPeer* peer, std::size_t) {
            std::string some = co_await peer->receive_all();
            co_await peer->send(some);
            peer->end_sending();
        }
    };
    App front(world, "10.0.0.3:9090", &Echo::serve);
    world.apply("v",
                networking +
                    "kind: VirtualService\nmetadata: {name: v, namespace: default}\n"
                    "spec: {hosts: [front, a.example, '*.b.example'], tls: [{match: [{port: 80, "
                    "sniHosts: [a.example]}], route: [{destination: {host: a}}]}, {match: "
                    "[{sniHosts: ['*.b.example']}], route: [{destination: {host: b}}]}]}\n");
    EXPECT_EQ(say(world, hello("A.example")).got, "a");
    EXPECT_EQ(say(world, hello("x.b.example")).got, "b");
    std::string other = hello("other.example");
    EXPECT_EQ(say(world, other).got, other) << "no route: the service itself, byte for byte";
    EXPECT_EQ(say(world, "no tls at all").got, "no tls at all");
    world.finish();
}

TEST(StreamRoutes, a_service_entry_is_found_by_its_server_name) {
    World world;
    world.withdraw("service-shop");  // its port 80 speaks HTTP
    world.apply("e",
                entry("{hosts: [a.example, b.example], resolution: STATIC, ports: [{number: 80, "
                      "name: tls, protocol: TLS, targetPort: 9443}], endpoints: [{address: "
                      "192.0.2.1}]}"));
    world.apply("m", mesh_config("outboundPolicy: REGISTRY_ONLY"));
    App app(world, "192.0.2.1:9443", &greet<'e'>);
    EXPECT_EQ(say(world, hello("b.example"), "203.0.113.1:80").got, "e");
    EXPECT_EQ(say(world, hello("c.example"), "203.0.113.1:80").got, "");
    world.finish();
}

}  // namespace
}  // namespace orlop::sim
