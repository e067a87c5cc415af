// Random callers, random applications, random faults. Whatever happens, every request gets exactly
// one whole answer that is its own, or a connection that is visibly cut; and nothing is left over.
// A failure prints its seed; ORLOP_SIM_SEED runs that one alone, ORLOP_SIM_SEEDS sets how many.
#include "daemon/runtime/fake_random.h"
#include "tests/sim/world.h"

#include <fmt/core.h>

#include <cstdlib>

namespace orlop::sim {
namespace {

using runtime::FakeRandom;

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) ||                           \
    __has_feature(thread_sanitizer)
constexpr std::uint64_t seeds_default = 60;
#else
constexpr std::uint64_t seeds_default = 300;
#endif

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What belongs to a tag: no other request has these bytes.
std::string body_of(const std::string& tag, std::size_t size) {
    std::string body;
    body.reserve(size + tag.size() + 8);
    for (std::size_t i = 0; body.size() < size; ++i) {
        body += tag + "." + std::to_string(i) + ";";
    }
    body.resize(size);
    return body;
}

std::string in_chunks(const std::string& body, FakeRandom& random, const std::string& trailers) {
    std::string out;
    for (std::size_t at = 0; at < body.size();) {
        std::size_t size = std::min<std::size_t>(random.between(1, 20'000), body.size() - at);
        out += fmt::format("{:x}\r\n", size);
        out.append(body, at, size);
        out += "\r\n";
        at += size;
    }
    return out + "0\r\n" + trailers + "\r\n";
}

struct Run {
    explicit Run(std::uint64_t seed, FakeOptions options)
        : seed(seed), world(options), random(seed * 7919) {}
    std::uint64_t seed;
    World world;
    FakeRandom random;
    std::size_t whole = 0;   // 200 with the right body
    std::size_t local = 0;   // answers of ours
    std::size_t broken = 0;  // cut, visibly
    std::vector<std::string> wrong;

    void complain(const std::string& what) {
        wrong.push_back(fmt::format("seed {}: {}", seed, what));
    }
};

// --- applications --------------------------------------------------------------------------------

std::string lawful_reply(Run& run, const Request& request) {
    std::string tag = request.field("x-tag");
    std::size_t size = std::stoul(request.field("x-size"));
    std::string body = body_of(tag, size);
    if (run.random.chance(0.5)) {
        return response(200, body);
    }
    return "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" +
           in_chunks(body, run.random, run.random.chance(0.3) ? "x-t: 1\r\n" : "");
}

// The last thing a misbehaving application does on a connection.
Task<void> misbehave(Run* run, ScriptedPeer* peer, const Request* request) {
    std::string reply = lawful_reply(*run, *request);
    switch (run->random.between(0, 5)) {
    case 0:  // nothing at all
        break;
    case 1:  // half of the truth
        co_await peer->send(reply.substr(0, run->random.between(0, reply.size() - 1)));
        break;
    case 2:
        co_await peer->send("HTTP/1.1 20x no\r\n\r\n");
        (void)co_await peer->receive_all();
        break;
    case 3:  // an answer that lasts until the end
        co_await peer->send("HTTP/1.1 200 OK\r\n\r\n" +
                            body_of(request->field("x-tag"), std::stoul(request->field("x-size"))));
        break;
    case 4:  // more than was asked for
        co_await peer->send(reply + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        break;
    default:
        co_await peer->send(reply);
        break;
    }
    if (run->random.chance(0.3)) {
        peer->reset();
    }
}

Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
    auto* run = static_cast<Run*>(app->context);
    while (true) {
        Request request = co_await read_message(peer, Of::request);
        if (!request.complete) {
            co_return;
        }
        std::size_t sent = std::stoul(request.field("x-sent"));
        if (request.body != body_of(request.field("x-tag") + "up", sent)) {
            run->complain("a request body was changed: " + request.line());
        }
        if (run->random.chance(0.3)) {
            co_await Sleep(app->world().loop, run->random.up_to(milliseconds(80)));
        }
        if (run->random.chance(0.12)) {
            co_await misbehave(run, peer, &request);
            co_return;
        }
        std::string reply =
            run->random.chance(0.1) ? response(503, "busy") : lawful_reply(*run, request);
        if (run->random.chance(0.1)) {
            reply = "HTTP/1.1 103 Hints\r\nlink: <a>\r\n\r\n" + reply;
        }
        if (co_await peer->send(std::move(reply)) != 0) {
            co_return;
        }
    }
}

// --- callers -------------------------------------------------------------------------------------

struct Wanted {
    std::string tag;
    std::size_t size = 0;
    bool head = false;
    std::string bytes;
};

Wanted make_request(Run& run, std::size_t client, std::size_t number) {
    Wanted wanted;
    wanted.tag = fmt::format("{}-{}-{}", run.seed, client, number);
    auto size = [&run] { return run.random.between(0, 1ull << run.random.between(0, 17)); };
    wanted.size = size();
    bool upload = run.random.chance(0.5);
    std::string body = upload ? body_of(wanted.tag + "up", size()) : "";
    wanted.head = !upload && run.random.chance(0.1);
    wanted.bytes = fmt::format("{} /{} HTTP/1.1\r\nHost: shop\r\nX-Tag: {}\r\nX-Size: {}\r\n"
                               "X-Sent: {}\r\n",
                               upload        ? "POST"
                               : wanted.head ? "HEAD"
                                             : "GET",
                               wanted.tag,
                               wanted.tag,
                               wanted.size,
                               body.size());
    if (!upload) {
        wanted.bytes += "\r\n";
    } else if (run.random.chance(0.5)) {
        wanted.bytes += fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
    } else {
        wanted.bytes += "Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body, run.random, "");
    }
    return wanted;
}

enum class Verdict : unsigned char { go_on, over };

Verdict judge(Run& run, const Wanted& wanted, const Answer& answer) {
    if (!answer.complete) {
        ++run.broken;
        return Verdict::over;
    }
    if (answer.status == 200 && answer.body == "evil") {
        // What an application sends unasked, and which arrives only once the next request of the
        // same caller is under way to it, cannot be told from that request's answer.
        ++run.broken;
        return Verdict::over;
    }
    if (answer.status == 200) {
        ++run.whole;
        if (!wanted.head && answer.body != body_of(wanted.tag, wanted.size)) {
            run.complain(fmt::format("{} got {} bytes of somebody else, or cut: {}",
                                     wanted.tag,
                                     answer.body.size(),
                                     answer.body.substr(0, 60)));
        }
    } else {
        ++run.local;
        if (answer.status < 500 || answer.status > 504) {
            run.complain(fmt::format("{} got {}", wanted.tag, answer.head));
        }
    }
    return answer.field("connection") == "close" ? Verdict::over : Verdict::go_on;
}

Task<void> send_all(ScriptedPeer* peer, std::string bytes) {
    co_await peer->send(std::move(bytes));
}

Task<void> call(Run* run, std::size_t client) {
    std::size_t number = 0;
    const std::size_t requests = run->random.between(1, 6);
    while (number < requests) {
        ScriptedPeer peer(run->world.loop, run->world.network.socket());
        if (co_await peer.connect(*SocketAddress::parse("10.96.0.1:80")) != 0) {
            ++number;
            continue;
        }
        // Some pipeline: the next request leaves before the answer has come.
        std::vector<Wanted> batch;
        std::size_t depth = run->random.chance(0.2) ? 3 : 1;
        runtime::Scope sender(run->world.loop);
        Verdict verdict = Verdict::go_on;
        bool left = false;
        while (verdict == Verdict::go_on && number < requests && peer.error() == 0) {
            std::string bytes;
            batch.clear();
            for (std::size_t i = 0; i < depth && number < requests; ++i, ++number) {
                batch.push_back(make_request(*run, client, number));
                bytes += batch.back().bytes;
            }
            if (run->random.chance(0.05)) {  // leaves in mid-sentence
                bytes.resize(run->random.between(0, bytes.size() - 1));
                co_await peer.send(std::move(bytes));
                left = true;
                break;
            }
            sender.spawn(&send_all, &peer, std::move(bytes));
            for (const Wanted& wanted : batch) {
                Answer answer =
                    co_await read_message(&peer, wanted.head ? Of::response_to_head : Of::response);
                verdict = judge(*run, wanted, answer);
                if (verdict == Verdict::over) {
                    break;
                }
            }
            if (verdict == Verdict::over) {
                // What we still send runs into a connection that has ended.
                (void)co_await peer.receive_all();
            }
            co_await sender.join();
        }
        if (verdict == Verdict::go_on && peer.error() == 0) {
            peer.end_sending();
            std::string rest = co_await peer.receive_all();
            if (!rest.empty() && !left) {
                run->complain("bytes nobody asked for: " + rest.substr(0, 60));
            }
        }
    }
}

// --- the mesh under them -------------------------------------------------------------------------

Task<void> disturb(Run* run) {
    for (int i = 0; i < 6; ++i) {
        co_await Sleep(run->world.loop, run->random.up_to(milliseconds(60)));
        switch (run->random.between(0, 3)) {
        case 0:
            run->world.withdraw("pod-shop-2");
            break;
        case 1:
            run->world.pod("shop-2", "10.0.0.2", "shop");
            break;
        case 2:
            run->world.publish();
            break;
        default:
            run->world.pod("shop-3", "10.0.0.3", "shop");
            break;
        }
    }
}

struct Totals {
    std::size_t whole = 0;
    std::size_t local = 0;
    std::size_t broken = 0;
};

void play(std::uint64_t seed, Totals& totals) {
    FakeOptions options{.seed = seed};
    options.faults = seed % 3 == 0   ? FakeFaults{}
                     : seed % 3 == 1 ? FakeFaults::rare()
                                     : FakeFaults::harsh();
    Run run(seed, options);
    const bool hbone = seed % 4 == 0;
    World& world = run.world;
    if (hbone) {
        world.add_node("n2");
        world.give_identity(world.node(0), {"cluster.local", "default", "client"});
        world.give_identity(world.node(1), {"cluster.local", "default", "shop"});
    }
    world.pod(
        "shop-1", "10.0.0.1", "shop", "n2", hbone ? "ambient.istio.io/redirection: enabled" : "");
    if (hbone) {
        world.open_callee(world.node(1), "shop-1", "10.0.0.1");
    }
    world.pod("shop-2", "10.0.0.2", "shop");
    world.apply("vs",
                fmt::format(R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [shop]
  http:
  - route: [{{destination: {{host: shop}}}}]
    timeout: 30s
    retries: {{attempts: {}, perTryTimeout: 0.{}s, retryOn: "5xx,reset,connect-failure"}}
)",
                            run.random.between(0, 3),
                            run.random.between(1, 9)));
    App one(world, "10.0.0.1:9090", &serve);
    App two(world, "10.0.0.2:9090", &serve);
    App three(world, "10.0.0.3:9090", &serve);
    for (App* app : {&one, &two, &three}) {
        app->context = &run;
    }
    const std::size_t clients = run.random.between(1, 8);
    for (std::size_t i = 0; i < clients; ++i) {
        world.scope().spawn(&call, &run, i);
    }
    world.scope().spawn(&disturb, &run);
    if (seed % 10 == 7) {  // the node stops under everybody
        world.run_for(run.random.up_to(milliseconds(100)));
        world.node(0).core->shut_down([&world] { world.node(0).down = true; });
        EXPECT_TRUE(world.run_until([&world] { return world.node(0).down; }, seconds(30)))
            << "seed " << seed;
        world.network.set_faults({});
    }
    ASSERT_EQ(world.settle(std::chrono::hours(3)), FakeEnd::done) << "seed " << seed << "\n"
                                                                  << world.network.describe();
    for (const std::string& text : run.wrong) {
        ADD_FAILURE() << text;
    }
    world.finish();
    totals.whole += run.whole;
    totals.local += run.local;
    totals.broken += run.broken;
}

TEST(Property, every_request_gets_its_own_whole_answer_or_a_visible_cut) {
    if (std::uint64_t only = number_from("ORLOP_SIM_SEED", 0); only != 0) {
        Totals totals;
        play(only, totals);
        return;
    }
    const std::uint64_t seeds = number_from("ORLOP_SIM_SEEDS", seeds_default);
    Totals totals;
    for (std::uint64_t seed = 1; seed <= seeds && !HasFailure(); ++seed) {
        SCOPED_TRACE(fmt::format("ORLOP_SIM_SEED={}", seed));
        play(seed, totals);
    }
    // The worlds must neither be all good nor all bad, or nothing is proven.
    EXPECT_GT(totals.whole, 3 * seeds);
    EXPECT_GT(totals.local, seeds / 4);
    EXPECT_GT(totals.broken, seeds / 4);
    std::printf("%zu whole, %zu local, %zu cut\n", totals.whole, totals.local, totals.broken);
}

}  // namespace
}  // namespace orlop::sim
