// Any bytes as a peer's chain: parse and judge. Input: DER certificates, each after a 16-bit
// big-endian length; input that starts with '-' is taken as PEM. Beyond crashes, it proves that a
// chain is never accepted unless its leaf is signed by the bundle's root, whose key exists only
// inside this process: nothing the fuzzer writes may be accepted.
#include "mtls/ca.h"
#include "mtls/peer_identity.h"
#include "mtls/svid.h"
#include "mtls/trust_bundle.h"

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace {

using namespace orlop;
using namespace orlop::mtls;

struct World {
    WallTime now = std::chrono::system_clock::from_time_t(1'800'000'000);
    CertificateAuthority ca = CertificateAuthority::create_in_memory("cluster.local", now).value();
    std::shared_ptr<const TrustBundle> bundle =
        TrustBundle::create({"cluster.local", {"old-td"}, {{"cluster.local", ca.roots_pem()}}})
            .value();
    VerdictCache cache{64};
};

void judge_pem(const World& world, std::string_view text) {
    if (auto svid = Svid::from_pem(text, text)) {
        (void)svid->chain_pem();
        (void)svid->renew_at(0.0);
        (void)svid->serial_hex();
    }
    (void)TrustBundle::create({"cluster.local", {}, {{"cluster.local", std::string(text)}}});
    (void)world;
}

void judge_der(World& world, std::span<const std::uint8_t> input, PeerRole role) {
    std::vector<std::span<const std::uint8_t>> chain;
    while (input.size() >= 2 && chain.size() < 8) {
        std::size_t size = static_cast<std::size_t>(input[0]) << 8 | input[1];
        input = input.subspan(2);
        size = size < input.size() ? size : input.size();
        chain.push_back(input.first(size));
        input = input.subspan(size);
    }
    auto expected = ExpectedPeer::any();
    auto verdict =
        verify_peer(chain, {world.bundle.get(), role, &expected, world.now, &world.cache});
    if (verdict || refusal_name(verdict.error().reason) == "unknown" ||
        verdict.error().detail.empty()) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World world;
    if (size != 0 && data[0] == '-') {
        judge_pem(world, {reinterpret_cast<const char*>(data), size});
        return 0;
    }
    judge_der(world, {data, size}, PeerRole::client);
    judge_der(world, {data, size}, PeerRole::server);
    return 0;
}
