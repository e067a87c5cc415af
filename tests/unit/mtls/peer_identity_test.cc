#include "mtls/peer_identity.h"
#include "tests/unit/mtls/fixture.h"

namespace orlop::mtls {
namespace {

using namespace orlop::mtls::testing;

std::shared_ptr<const TrustBundle> bundle_with(const Issuer& root,
                                               std::vector<std::string> aliases = {}) {
    return TrustBundle::create(
               {"cluster.local", std::move(aliases), {{"cluster.local", root.pem()}}})
        .value();
}

TEST(PeerIdentity, refuses_each_wrong_leaf_with_its_own_reason) {
    struct Case {
        const char* expected;
        std::function<void(Craft&)> spoil;
    };
    const std::string good = "spiffe://cluster.local/ns/shop/sa/cart";
    const std::vector<Case> cases{
        {"accepted", [](Craft&) {}},
        {"accepted", [](Craft& c) { c.dns = "cart.shop.svc"; }},
        {"accepted", [](Craft& c) { c.key_usage = "digitalSignature,keyEncipherment"; }},
        {"leaf_is_ca", [](Craft& c) { c.basic_constraints = "critical,CA:TRUE"; }},
        {"leaf_may_sign", [](Craft& c) { c.key_usage = "digitalSignature,keyCertSign"; }},
        {"leaf_may_sign", [](Craft& c) { c.key_usage = "digitalSignature,cRLSign"; }},
        {"key_usage_missing", [](Craft& c) { c.key_usage = nullptr; }},
        {"key_usage_missing", [](Craft& c) { c.key_usage = "keyEncipherment"; }},
        {"extended_key_usage", [](Craft& c) { c.extended_key_usage = nullptr; }},
        {"extended_key_usage", [](Craft& c) { c.extended_key_usage = "serverAuth"; }},
        {"extended_key_usage", [](Craft& c) { c.extended_key_usage = "codeSigning"; }},
        {"uri_san_missing", [](Craft& c) { c.uris.clear(); }},
        {"uri_san_missing", [](Craft& c) { c.uris.clear(), c.dns = "cart.shop.svc"; }},
        {"uri_san_many", [&](Craft& c) { c.uris = {good, good}; }},
        {"uri_san_many", [&](Craft& c) { c.uris = {good, "https://example.com"}; }},
        {"not_a_spiffe_id", [](Craft& c) { c.uris = {"https://example.com/"}; }},
        {"not_a_spiffe_id", [](Craft& c) { c.uris = {""}; }},
        {"not_a_spiffe_id", [&](Craft& c) { c.uris = {good + std::string("\0.evil", 6)}; }},
        {"not_a_spiffe_id", [&](Craft& c) { c.uris = {good + std::string(1, '\0')}; }},
        {"not_a_spiffe_id", [](Craft& c) { c.uris = {"spiffe://cluster.local/ns/shop/sa/c?x"}; }},
        {"trust_domain_unknown", [](Craft& c) { c.uris = {"spiffe://other/ns/shop/sa/cart"}; }},
        {"expired", [](Craft& c) { c.not_after = now - std::chrono::seconds(1); }},
        {"not_yet_valid", [](Craft& c) { c.not_before = now + std::chrono::seconds(1); }},
    };
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    for (std::size_t at = 0; at < cases.size(); ++at) {
        Craft craft;
        cases[at].spoil(craft);
        Issuer leaf = signed_by(root, craft);
        EXPECT_EQ(reason(verify({leaf.certificate.get()}, *bundle)), cases[at].expected)
            << "case " << at;
    }
}

TEST(PeerIdentity, shows_unprintable_bytes_of_a_refused_uri_escaped) {
    Issuer root = new_issuer();
    Craft craft;
    craft.uris = {std::string("spiffe://a\0\n\x1b[31m", 16)};
    auto verdict = verify({signed_by(root, craft).certificate.get()}, *bundle_with(root));
    ASSERT_FALSE(verdict);
    EXPECT_NE(verdict.error().detail.find("\\x00\\x0a\\x1b"), std::string::npos);
    EXPECT_EQ(verdict.error().to_error().kind, ErrorKind::unauthenticated);
}

TEST(PeerIdentity, needs_the_extended_key_usage_of_the_peers_role) {
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    Craft craft;
    craft.extended_key_usage = "serverAuth";
    Issuer leaf = signed_by(root, craft);
    auto as = [&](PeerRole role) {
        return reason(verify({leaf.certificate.get()}, *bundle, ExpectedPeer::any(), role));
    };
    EXPECT_EQ(as(PeerRole::server), "accepted");
    EXPECT_EQ(as(PeerRole::client), "extended_key_usage");
}

TEST(PeerIdentity, follows_intermediates_the_peer_sent_and_only_to_a_root) {
    Issuer root = new_issuer();
    Issuer middle = signed_by(root, intermediate_craft(), "middle");
    Issuer leaf = signed_by(middle, {});
    Issuer stranger = new_issuer("root");  // same name, other key
    X509* l = leaf.certificate.get();
    X509* m = middle.certificate.get();
    auto bundle = bundle_with(root);
    EXPECT_EQ(reason(verify({l, m}, *bundle)), "accepted");
    EXPECT_EQ(reason(verify({l, m, root.certificate.get()}, *bundle)), "accepted");
    EXPECT_EQ(reason(verify({l}, *bundle)), "untrusted_chain");
    EXPECT_EQ(reason(verify({l, m}, *bundle_with(stranger))), "untrusted_chain");
    EXPECT_EQ(reason(verify({l, m, stranger.certificate.get()}, *bundle_with(stranger))),
              "untrusted_chain");
    EXPECT_EQ(reason(verify({}, *bundle)), "no_certificate");
    EXPECT_EQ(reason(verify({l, m, m, m, m, m, m}, *bundle)), "chain_too_long");
}

TEST(PeerIdentity, refuses_intermediates_that_may_not_sign_or_have_ended) {
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    Craft expired = intermediate_craft();
    expired.not_after = now - std::chrono::seconds(1);
    Craft no_ca = intermediate_craft();
    no_ca.basic_constraints = "critical,CA:FALSE";
    Craft clients_only = intermediate_craft();
    clients_only.extended_key_usage = "clientAuth";
    auto under = [&](const Craft& craft, PeerRole role) {
        Issuer middle = signed_by(root, craft, "middle");
        Issuer leaf = signed_by(middle, {});
        return reason(verify({leaf.certificate.get(), middle.certificate.get()},
                             *bundle,
                             ExpectedPeer::any(),
                             role));
    };
    EXPECT_EQ(under(expired, PeerRole::client), "expired");
    EXPECT_EQ(under(no_ca, PeerRole::client), "untrusted_chain");
    EXPECT_EQ(under(clients_only, PeerRole::client), "accepted");
    EXPECT_EQ(under(clients_only, PeerRole::server), "untrusted_chain");
}

TEST(PeerIdentity, a_root_of_one_domain_never_vouches_for_another) {
    Issuer ours = new_issuer("ours");
    Issuer theirs = new_issuer("theirs");
    auto bundle =
        TrustBundle::create(
            {"cluster.local", {}, {{"cluster.local", ours.pem()}, {"other", theirs.pem()}}})
            .value();
    Craft our_name;
    Craft their_name;
    their_name.uris = {"spiffe://other/ns/shop/sa/cart"};
    auto by = [&](const Issuer& root, const Craft& craft) {
        return reason(verify({signed_by(root, craft).certificate.get()}, *bundle));
    };
    EXPECT_EQ(by(ours, our_name), "accepted");
    EXPECT_EQ(by(theirs, their_name), "accepted");
    EXPECT_EQ(by(theirs, our_name), "untrusted_chain");
    EXPECT_EQ(by(ours, their_name), "untrusted_chain");
}

TEST(PeerIdentity, an_alias_equals_the_local_domain_and_expectations_see_it_so) {
    Issuer root = new_issuer();
    Craft old_name;
    old_name.uris = {"spiffe://old-td/ns/shop/sa/cart"};
    Issuer leaf = signed_by(root, old_name);
    auto with_alias = bundle_with(root, {"old-td"});
    auto check = [&](const ExpectedPeer& expected) {
        return reason(verify({leaf.certificate.get()}, *with_alias, expected));
    };
    EXPECT_EQ(reason(verify({leaf.certificate.get()}, *bundle_with(root))), "trust_domain_unknown");
    EXPECT_EQ(check(ExpectedPeer::any()), "accepted");
    EXPECT_EQ(check(ExpectedPeer::exactly(identity("cart"))), "accepted");
    EXPECT_EQ(check(ExpectedPeer::exactly(identity("cart", "old-td"))), "accepted");
    EXPECT_EQ(check(ExpectedPeer::exactly(identity("cart", "other"))), "unexpected_identity");
    EXPECT_EQ(check(ExpectedPeer::exactly(identity("price"))), "unexpected_identity");
    EXPECT_EQ(check(ExpectedPeer::one_of({identity("price"), identity("cart")})), "accepted");
    EXPECT_EQ(check(ExpectedPeer::one_of({})), "unexpected_identity");
}

TEST(PeerIdentity, overlapping_roots_serve_while_a_root_is_rotated) {
    auto before = new_ca();
    auto after = new_ca();  // same name, as a renewed root often has
    auto both =
        TrustBundle::create(
            {"cluster.local", {}, {{"cluster.local", before.roots_pem() + after.roots_pem()}}})
            .value();
    auto by = [](const CertificateAuthority& ca, const TrustBundle& bundle) {
        auto svid = ca.issue(identity("cart"), hour, now).value();
        return reason(verify({svid.material().chain.front().get()}, bundle));
    };
    EXPECT_EQ(both->root_count(), 2u);
    EXPECT_EQ(by(before, *both), "accepted");
    EXPECT_EQ(by(after, *both), "accepted");
    EXPECT_EQ(by(before, *bundle_of(after)), "untrusted_chain");
}

TEST(PeerIdentity, refuses_bytes_that_are_not_exactly_one_certificate) {
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    auto expected = ExpectedPeer::any();
    PeerCheck check{bundle.get(), PeerRole::client, &expected, now};
    auto der = certificate_der(*signed_by(root, {}).certificate);
    auto trailing = der;
    trailing.push_back(0);
    auto cut = std::span<const std::uint8_t>(der).first(der.size() - 1);
    Bytes nothing;
    for (std::span<const std::uint8_t> bad :
         {std::span<const std::uint8_t>(trailing), cut, std::span<const std::uint8_t>(nothing)}) {
        EXPECT_EQ(reason(verify_peer(std::span(&bad, 1), check)), "malformed");
    }
}

TEST(VerdictCache, answers_for_the_same_chain_bundle_and_role_until_the_earliest_end) {
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    Issuer leaf = signed_by(root, {});
    VerdictCache cache(8);
    auto check = [&](const TrustBundle& trust, PeerRole role, WallTime at) {
        return reason(
            verify({leaf.certificate.get()}, trust, ExpectedPeer::any(), role, &cache, at));
    };
    EXPECT_EQ(check(*bundle, PeerRole::client, now), "accepted");
    EXPECT_EQ(check(*bundle, PeerRole::client, now), "accepted");
    EXPECT_EQ(cache.hits(), 1u);
    EXPECT_EQ(check(*bundle, PeerRole::server, now), "accepted");
    EXPECT_EQ(check(*bundle_with(root, {"x"}), PeerRole::client, now), "accepted");
    EXPECT_EQ(cache.hits(), 1u) << "another role and another bundle are other questions";
    EXPECT_EQ(check(*bundle_with(new_issuer()), PeerRole::client, now), "untrusted_chain");
    EXPECT_EQ(check(*bundle, PeerRole::client, now + 2 * hour), "expired");
    EXPECT_EQ(cache.hits(), 1u);
}

TEST(VerdictCache, still_asks_whether_the_identity_is_the_expected_one) {
    Issuer root = new_issuer();
    auto bundle = bundle_with(root);
    Issuer leaf = signed_by(root, {});
    VerdictCache cache(8);
    auto check = [&](const ExpectedPeer& expected) {
        return reason(
            verify({leaf.certificate.get()}, *bundle, expected, PeerRole::client, &cache));
    };
    EXPECT_EQ(check(ExpectedPeer::any()), "accepted");
    EXPECT_EQ(check(ExpectedPeer::exactly(identity("price"))), "unexpected_identity");
    EXPECT_EQ(cache.hits(), 1u);
}

TEST(VerdictCache, forgets_the_least_recently_used_when_full) {
    VerdictCache cache(2);
    auto key = [](std::uint8_t first) { return VerdictCache::Key{first}; };
    PeerIdentity peer{identity("cart"), now + hour};
    cache.insert(key(1), peer);
    cache.insert(key(2), peer);
    EXPECT_NE(cache.find(key(1), now), nullptr);
    cache.insert(key(3), peer);
    EXPECT_EQ(cache.size(), 2u);
    EXPECT_EQ(cache.find(key(2), now), nullptr);
    EXPECT_NE(cache.find(key(1), now), nullptr);
}

TEST(TrustBundle, refuses_what_cannot_anchor_a_chain) {
    Issuer root = new_issuer();
    Issuer middle = signed_by(root, intermediate_craft(), "middle");
    Issuer leaf = signed_by(root, {});
    auto made = [](const std::string& pem) {
        return TrustBundle::create({"cluster.local", {}, {{"cluster.local", pem}}}).has_value();
    };
    EXPECT_TRUE(made(root.pem()));
    EXPECT_FALSE(made(middle.pem()));
    EXPECT_FALSE(made(leaf.pem()));
    EXPECT_FALSE(made("no certificate"));
    EXPECT_FALSE(
        made(root.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    EXPECT_FALSE(TrustBundle::create({"cluster.local", {}, {}}).has_value());
}

TEST(TrustBundle, fingerprint_changes_with_roots_aliases_and_domain_but_not_with_order) {
    Issuer a = new_issuer("a");
    Issuer b = new_issuer("b");
    auto print = [](const TrustBundleOptions& options) {
        return TrustBundle::create(options).value()->fingerprint();
    };
    auto one = print({"td", {"x", "y"}, {{"td", a.pem() + b.pem()}}});
    EXPECT_EQ(one, print({"td", {"y", "x"}, {{"td", b.pem()}, {"td", a.pem()}}}));
    EXPECT_NE(one, print({"td", {"x"}, {{"td", a.pem() + b.pem()}}}));
    EXPECT_NE(one, print({"td", {"x", "y"}, {{"td", a.pem()}}}));
    EXPECT_NE(one, print({"td", {"x", "y"}, {{"td", a.pem()}, {"x", b.pem()}}}));
}

}  // namespace
}  // namespace orlop::mtls
