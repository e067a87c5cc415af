// TLS in memory, both ends on one core: records of 1 and 16 KB, full and resumed mutual handshakes.
#include "bench/micro/allocations.h"
#include "mtls/ca.h"
#include "mtls/context.h"
#include "mtls/session.h"

#include <array>
#include <benchmark/benchmark.h>
#include <string>
#include <vector>

namespace orlop::bench {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Pair {
    mtls::CertificateAuthority authority;
    std::shared_ptr<const mtls::TrustBundle> bundle;
    std::shared_ptr<mtls::TlsContext> caller;
    std::shared_ptr<mtls::TlsContext> callee;
    WallTime now;

    static Pair make();
    mtls::TlsSession client(const std::string& key) const {
        return mtls::TlsSession::client(caller, {mtls::ExpectedPeer::any(), key, now}).value();
    }
    mtls::TlsSession server() const {
        return mtls::TlsSession::server(callee, {mtls::ExpectedPeer::any(), now}).value();
    }
};

// Everything that waits at one end goes to the other; false when that fails.
bool deliver(mtls::TlsSession& from, mtls::TlsSession& to, Bytes& wire, Bytes& plain) {
    while (from.has_output()) {
        auto sent = from.send({}, wire);
        if (!sent || !to.receive(std::span(wire).first(sent->produced), plain)) {
            return false;
        }
    }
    return true;
}

bool shake_hands(mtls::TlsSession& client, mtls::TlsSession& server, Bytes& wire, Bytes& plain) {
    for (int flight = 0; flight < 3; ++flight) {
        if (!deliver(client, server, wire, plain) || !deliver(server, client, wire, plain)) {
            return false;
        }
    }
    return client.established() && server.established();
}

void handshake(benchmark::State& state, const char* key) {
    auto pair = Pair::make();
    Bytes wire(64 * 1024);
    Bytes plain(64 * 1024);
    std::int64_t resumed = 0;
    CountedAllocations counted(state);
    for (auto _ : state) {
        auto client = pair.client(key);
        auto server = pair.server();
        benchmark::DoNotOptimize(client.send({}, std::span<std::uint8_t>()));
        if (!shake_hands(client, server, wire, plain)) {
            state.SkipWithError("the handshake failed");
            break;
        }
        resumed += client.resumed() ? 1 : 0;
    }
    state.counters["resumed"] =
        benchmark::Counter(static_cast<double>(resumed), benchmark::Counter::kAvgIterations);
}
BENCHMARK_CAPTURE(handshake, full, "");
BENCHMARK_CAPTURE(handshake, resumed, "10.0.0.1|callee");

void record(benchmark::State& state) {
    auto pair = Pair::make();
    auto client = pair.client("");
    auto server = pair.server();
    Bytes wire(64 * 1024);
    Bytes plain(64 * 1024);
    if (!shake_hands(client, server, wire, plain)) {
        state.SkipWithError("the handshake failed");
        return;
    }
    Bytes text(static_cast<std::size_t>(state.range(0)), 'x');
    CountedAllocations counted(state);
    for (auto _ : state) {
        auto sent = client.send(text, wire);
        auto got = server.receive(std::span(wire).first(sent.value().produced), plain);
        if (!got || got->produced != text.size()) {
            state.SkipWithError("the record did not come through");
            break;
        }
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(record)->Arg(1024)->Arg(16 * 1024);

Pair Pair::make() {
    WallTime now = std::chrono::system_clock::now();
    auto authority = mtls::CertificateAuthority::create_in_memory("cluster.local", now).value();
    auto bundle =
        mtls::TrustBundle::create({"cluster.local", {}, {{"cluster.local", authority.roots_pem()}}})
            .value();
    auto context = [&](const char* account) {
        SpiffeId identity{"cluster.local", "shop", account};
        return mtls::TlsContext::create(
                   {authority.issue(identity, mtls::svid_ttl_default, now).value(),
                    bundle,
                    {"h2"},
                    1,
                    nullptr})
            .value();
    };
    auto caller = context("caller");
    auto callee = context("callee");
    return {std::move(authority), bundle, caller, callee, now};
}

}  // namespace
}  // namespace orlop::bench
