#include "daemon/base/limits.h"
#include "mtls/session.h"
#include "tests/unit/mtls/fixture.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

#include <cstring>
#include <random>
#include <thread>

namespace orlop::mtls {
namespace {

using namespace orlop::mtls::testing;

class Sessions : public ::testing::Test {
protected:
    std::shared_ptr<TlsContext> context(const std::string& account, std::uint64_t generation = 1) {
        return context_of(ca_.issue(identity(account), hour, now).value(), bundle_, generation);
    }
    // A complete connection; true when the client resumed.
    static bool connect(const std::shared_ptr<TlsContext>& from,
                        const std::shared_ptr<TlsContext>& to,
                        const std::string& key = "10.0.0.1:15008") {
        auto client = client_of(from, ExpectedPeer::any(), key);
        auto server = server_of(to);
        shake_hands(client, server);
        EXPECT_TRUE(client.established() && server.established());
        EXPECT_EQ(client.resumed(), server.resumed());
        EXPECT_EQ(client.peer().value().id, to->svid().identity());
        EXPECT_EQ(server.peer().value().id, from->svid().identity());
        client.close_notify();
        feed(server, drain(client));
        return client.resumed();
    }

    CertificateAuthority ca_ = new_ca();
    std::shared_ptr<const TrustBundle> bundle_ = bundle_of(ca_);
};

TEST_F(Sessions, know_each_other_after_the_handshake) {
    auto cart = context("cart");
    auto price = context("price");
    auto client = client_of(cart, ExpectedPeer::exactly(identity("price")));
    auto server = server_of(price);
    EXPECT_TRUE(client.handshaking());
    EXPECT_FALSE(client.peer().has_value());
    shake_hands(client, server);
    ASSERT_TRUE(client.established());
    ASSERT_TRUE(server.established());
    EXPECT_EQ(client.peer()->id, identity("price"));
    EXPECT_EQ(server.peer()->id, identity("cart"));
    EXPECT_EQ(client.alpn(), "h2");
    EXPECT_EQ(server.alpn(), "h2");
    EXPECT_FALSE(client.resumed());
    EXPECT_EQ(feed(server, seal(client, bytes_of("hello"))), bytes_of("hello"));
    EXPECT_EQ(feed(client, seal(server, bytes_of("world"))), bytes_of("world"));
}

TEST_F(Sessions, work_when_bytes_come_in_any_pieces) {
    for (std::size_t piece : {1u, 2u, 5u, 6u, 100u, 1460u}) {
        auto client = client_of(context("cart"));
        auto server = server_of(context("price"));
        shake_hands(client, server, piece);
        ASSERT_TRUE(client.established() && server.established()) << piece;
        Bytes text(40'000, 'x');
        EXPECT_EQ(feed(server, seal(client, text), piece), text);
    }
}

TEST_F(Sessions, carry_ten_megabytes_unchanged_through_odd_buffers) {
    auto client = client_of(context("cart"));
    auto server = server_of(context("price"));
    shake_hands(client, server);
    std::mt19937 random(7);
    Bytes sent(10 << 20);
    for (auto& byte : sent) {
        byte = static_cast<std::uint8_t>(random());
    }
    Bytes got;
    Bytes wire(40'000);
    Bytes plain(30'000);
    std::size_t at = 0;
    while (at < sent.size()) {
        auto rest = std::span<const std::uint8_t>(sent).subspan(at);
        auto out = client
                       .send(rest.first(std::min<std::size_t>(rest.size(), 1 + random() % 50'000)),
                             std::span(wire).first(1 + random() % wire.size()))
                       .value();
        at += out.consumed;
        std::span<const std::uint8_t> in(wire.data(), out.produced);
        while (!in.empty() || server.has_plaintext()) {
            auto piece = in.first(std::min<std::size_t>(in.size(), 1 + random() % 20'000));
            auto done = server.receive(piece, std::span(plain).first(1 + random() % plain.size()));
            ASSERT_TRUE(done) << done.error().context;
            got.insert(got.end(), plain.begin(), plain.begin() + static_cast<long>(done->produced));
            in = in.subspan(done->consumed);
        }
    }
    auto rest = feed(server, drain(client));
    got.insert(got.end(), rest.begin(), rest.end());
    EXPECT_TRUE(got == sent);
}

TEST_F(Sessions, hold_decrypted_bytes_until_there_is_room) {
    auto client = client_of(context("cart"));
    auto server = server_of(context("price"));
    shake_hands(client, server);
    Bytes wire = seal(client, bytes_of("hello"));
    EXPECT_EQ(server.receive(wire, {}).value().produced, 0u);
    EXPECT_TRUE(server.has_plaintext());
    std::uint8_t two[2];
    EXPECT_EQ(server.receive({}, two).value().produced, 2u);
    EXPECT_TRUE(server.has_plaintext());
    EXPECT_EQ(feed(server, {}), bytes_of("llo"));
    EXPECT_FALSE(server.has_plaintext());
}

TEST_F(Sessions, tell_an_orderly_end_from_a_cut) {
    auto client = client_of(context("cart"));
    auto server = server_of(context("price"));
    shake_hands(client, server);
    Bytes wire = seal(client, bytes_of("last words"));
    client.close_notify();
    Bytes end = drain(client);
    EXPECT_EQ(feed(server, wire), bytes_of("last words"));
    feed(server, std::span(end).first(end.size() - 1));
    EXPECT_FALSE(server.peer_closed());
    feed(server, std::span(end).last(1));
    EXPECT_TRUE(server.peer_closed());
    EXPECT_TRUE(server.transport_ended());
    EXPECT_FALSE(client.send(bytes_of("more"), wire)) << "we have said that we send no more";
    EXPECT_EQ(feed(client, seal(server, bytes_of("reply"))), bytes_of("reply")) << "half-closed";
    auto cut = client.transport_ended();
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().kind, ErrorKind::reset);
    EXPECT_FALSE(client.receive({}, {}));
}

TEST_F(Sessions, go_on_after_idle_buffers_were_released) {
    auto client = client_of(context("cart"));
    auto server = server_of(context("price"));
    shake_hands(client, server);
    for (int round = 0; round < 3; ++round) {
        Bytes wire = seal(client, bytes_of("ping"));
        std::uint8_t none[8];
        ASSERT_EQ(server.receive(std::span(wire).first(7), none).value().consumed, 7u);
        server.release_idle_buffers();
        client.release_idle_buffers();
        EXPECT_EQ(feed(server, std::span(wire).subspan(7)), bytes_of("ping"));
    }
}

// ---- Refusals

struct Outcome {
    std::string server;
    std::string client;
    ErrorKind server_kind = ErrorKind::internal;
    ErrorKind client_kind = ErrorKind::internal;
};

Outcome outcome(TlsSession& client, TlsSession& server) {
    shake_hands(client, server);
    auto name = [](const TlsSession& side) -> std::string {
        if (side.refusal()) {
            return std::string(refusal_name(side.refusal()->reason));
        }
        return side.error() ? "error" : "ok";
    };
    auto kind = [](const TlsSession& side) {
        return side.error() ? side.error()->kind : ErrorKind::internal;
    };
    return {name(server), name(client), kind(server), kind(client)};
}

TEST_F(Sessions, refuse_a_peer_of_another_ca_on_either_side) {
    auto strangers = new_ca();
    auto theirs = strangers.issue(identity("cart"), hour, now).value();
    auto client = client_of(context_of(theirs, bundle_));  // trusts us, is not trusted
    auto server = server_of(context("price"));
    auto at_server = outcome(client, server);
    EXPECT_EQ(at_server.server, "untrusted_chain");
    EXPECT_EQ(at_server.server_kind, ErrorKind::unauthenticated);
    EXPECT_EQ(at_server.client_kind, ErrorKind::unauthenticated) << "told by the alert";
    EXPECT_FALSE(server.peer().has_value());
    EXPECT_FALSE(server.established());

    auto careful = client_of(context("cart"));
    auto impostor = server_of(
        context_of(strangers.issue(identity("price"), hour, now).value(), bundle_of(strangers)));
    auto at_client = outcome(careful, impostor);
    EXPECT_EQ(at_client.client, "untrusted_chain");
    EXPECT_EQ(at_client.server_kind, ErrorKind::unauthenticated);
}

TEST_F(Sessions, refuse_another_identity_than_the_expected_one) {
    auto client = client_of(context("cart"), ExpectedPeer::exactly(identity("price")));
    auto server = server_of(context("stock"));
    EXPECT_EQ(outcome(client, server).client, "unexpected_identity");
    auto client2 = client_of(context("cart"));
    auto server2 = server_of(context("price"), ExpectedPeer::exactly(identity("frontend")));
    EXPECT_EQ(outcome(client2, server2).server, "unexpected_identity");
}

TEST_F(Sessions, refuse_certificates_out_of_time) {
    auto early = [&](WallTime at) {
        auto client = client_of(context("cart"));
        auto server = TlsSession::server(context("price"), {ExpectedPeer::any(), at}).value();
        return outcome(client, server).server;
    };
    EXPECT_EQ(early(now + 2 * hour), "expired");
    EXPECT_EQ(early(now - 2 * hour), "not_yet_valid");
}

TEST_F(Sessions, accept_an_alias_of_the_trust_domain_and_refuse_a_foreign_one) {
    auto renamed =
        TrustBundle::create({"new-td", {"cluster.local"}, {{"new-td", ca_.roots_pem()}}}).value();
    auto foreign = bundle_of(ca_, {}, "new-td");
    auto price = ca_.issue(identity("price", "new-td"), hour, now).value();
    auto both =
        TrustBundle::create({"cluster.local", {"new-td"}, {{"cluster.local", ca_.roots_pem()}}})
            .value();
    auto cart = context_of(ca_.issue(identity("cart"), hour, now).value(), both);
    auto client = client_of(cart, ExpectedPeer::exactly(identity("price")));
    auto server = server_of(context_of(price, renamed));
    auto accepted = outcome(client, server);
    EXPECT_EQ(accepted.server + accepted.client, "okok");
    auto client2 = client_of(cart);
    auto server2 = server_of(context_of(price, foreign));
    EXPECT_EQ(outcome(client2, server2).server, "trust_domain_unknown");
}

// A client made with plain OpenSSL, for what ours will not do.
class ForeignClient {
public:
    ForeignClient(int version, const Svid* svid, const char* alpn = "\2h2") {
        tls_.reset(SSL_CTX_new(TLS_client_method()));
        SSL_CTX_set_min_proto_version(tls_.get(), version);
        SSL_CTX_set_max_proto_version(tls_.get(), version);
        if (svid != nullptr) {
            Owned<x509_st> leaf(X509_dup(svid->material().chain.front().get()));
            SSL_CTX_use_certificate(tls_.get(), leaf.get());
            SSL_CTX_use_PrivateKey(tls_.get(), svid->material().key.get());
        }
        ssl_.reset(SSL_new(tls_.get()));
        SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        if (alpn != nullptr) {
            SSL_set_alpn_protos(ssl_.get(),
                                reinterpret_cast<const unsigned char*>(alpn),
                                static_cast<unsigned>(std::strlen(alpn)));
        }
        SSL_set_connect_state(ssl_.get());
    }
    void run(TlsSession& server) {
        for (int flight = 0; flight < 6; ++flight) {
            std::uint8_t none = 0;
            SSL_do_handshake(ssl_.get());
            SSL_read(ssl_.get(), &none, 1);
            std::uint8_t buffer[16'000];
            int size = BIO_read(SSL_get_wbio(ssl_.get()), buffer, sizeof buffer);
            feed(server, std::span(buffer, static_cast<std::size_t>(std::max(size, 0))));
            Bytes reply = drain(server);
            BIO_write(SSL_get_rbio(ssl_.get()), reply.data(), static_cast<int>(reply.size()));
        }
    }
    SSL* ssl() { return ssl_.get(); }

private:
    Owned<ssl_ctx_st> tls_;
    Owned<ssl_st> ssl_;
};

TEST_F(Sessions, refuse_foreign_clients_that_break_a_rule) {
    auto svid = ca_.issue(identity("cart"), hour, now).value();
    struct Case {
        const char* name;
        int version;
        const Svid* svid;
        const char* alpn;
        ErrorKind expected;
    };
    const std::vector<Case> cases{
        {"TLS 1.2", TLS1_2_VERSION, &svid, "\2h2", ErrorKind::unsupported},
        {"no certificate", TLS1_3_VERSION, nullptr, "\2h2", ErrorKind::unauthenticated},
        {"other ALPN", TLS1_3_VERSION, &svid, "\x8http/1.1", ErrorKind::invalid_input},
        {"no ALPN", TLS1_3_VERSION, &svid, nullptr, ErrorKind::invalid_input},
    };
    for (const auto& each : cases) {
        auto server = server_of(context("price"));
        ForeignClient client(each.version, each.svid, each.alpn);
        client.run(server);
        ASSERT_TRUE(server.error().has_value()) << each.name;
        EXPECT_EQ(server.error()->kind, each.expected) << each.name << server.error()->context;
        EXPECT_FALSE(server.established()) << each.name;
    }
    auto server = server_of(context("price"));
    ForeignClient good(TLS1_3_VERSION, &svid);
    good.run(server);
    EXPECT_TRUE(server.established()) << "a foreign client with a valid certificate may come in";
    EXPECT_EQ(server.peer()->id, identity("cart"));
}

TEST_F(Sessions, name_the_missing_client_certificate) {
    auto server = server_of(context("price"));
    ForeignClient client(TLS1_3_VERSION, nullptr);
    client.run(server);
    ASSERT_TRUE(server.refusal().has_value());
    EXPECT_EQ(server.refusal()->reason, RefusalReason::no_certificate);
}

TEST_F(Sessions, stop_a_flood_of_key_updates) {
    auto svid = ca_.issue(identity("cart"), hour, now).value();
    auto server = server_of(context("price"));
    ForeignClient client(TLS1_3_VERSION, &svid);
    client.run(server);
    ASSERT_TRUE(server.established());
    for (int sent = 0; sent < 2000 && !server.error(); ++sent) {
        SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(client.ssl());
        std::uint8_t buffer[4096];
        int size = BIO_read(SSL_get_wbio(client.ssl()), buffer, sizeof buffer);
        feed(server, std::span(buffer, static_cast<std::size_t>(std::max(size, 0))));
    }
    ASSERT_TRUE(server.error().has_value());
    EXPECT_EQ(server.error()->kind, ErrorKind::limit_exceeded) << server.error()->context;
}

TEST_F(Sessions, refuse_bytes_that_are_not_tls_and_handshakes_without_end) {
    auto server = server_of(context("price"));
    EXPECT_FALSE(server.receive(bytes_of("GET / HTTP/1.1\r\n\r\n"), {}));
    EXPECT_EQ(server.error()->kind, ErrorKind::invalid_input);
    // Records of a ClientHello that claims to be huge and never ends.
    auto patient = server_of(context("price"));
    Bytes record{22, 3, 1, 0x40, 0x00};
    record.resize(5 + 0x4000, 0);
    record[5] = 1;
    record[6] = 0x01;  // 64 KB and more
    record[7] = 0xff;
    int records = 0;
    while (!patient.error() && records < 100) {
        patient.receive(record, {});
        std::fill(record.begin() + 5, record.begin() + 9, std::uint8_t{0});
        ++records;
    }
    EXPECT_LE(records, 5);
    // The same in single-byte records: the bound counts them all.
    auto drip = server_of(context("price"));
    const Bytes tiny{22, 3, 1, 0, 1, 1};
    std::size_t fed = 0;
    while (!drip.error() && fed < (1u << 20)) {
        drip.receive(tiny, {});
        fed += tiny.size();
    }
    EXPECT_LE(fed, limits::tls_handshake_bytes_max + tiny.size());
}

TEST_F(Sessions, refuse_a_certificate_list_that_is_too_large) {
    Issuer root = new_issuer();
    auto bundle =
        TrustBundle::create({"cluster.local", {}, {{"cluster.local", root.pem()}}}).value();
    Craft craft;
    craft.dns = std::string(limits::tls_certificate_list_bytes_max, 'd');
    Issuer leaf = signed_by(root, craft);
    auto large = Svid::from_pem(leaf.pem(), private_key_pem(*leaf.key)).value();
    auto client = client_of(context_of(large, bundle_));
    auto server = server_of(context_of(ca_.issue(identity("price"), hour, now).value(), bundle));
    auto result = outcome(client, server);
    EXPECT_EQ(result.server, "error");
}

TEST_F(Sessions, survive_any_flipped_byte_of_a_record) {
    auto client = client_of(context("cart"));
    auto server = server_of(context("price"));
    shake_hands(client, server);
    Bytes wire = seal(client, bytes_of("payload"));
    wire.back() ^= 1;
    Bytes plain = feed(server, wire);
    EXPECT_TRUE(plain.empty());
    ASSERT_TRUE(server.error().has_value());
    EXPECT_EQ(server.error()->kind, ErrorKind::invalid_input);
    EXPECT_TRUE(server.has_output()) << "an alert is waiting";
    feed(client, drain(server));
    EXPECT_EQ(client.error()->kind, ErrorKind::reset);
}

// ---- Resumption and rotation

TEST_F(Sessions, resume_and_show_the_peer_again) {
    auto cart = context("cart");
    auto price = context("price");
    EXPECT_FALSE(connect(cart, price));
    EXPECT_EQ(cart->client_sessions(), 1u);
    EXPECT_TRUE(connect(cart, price));
    EXPECT_TRUE(connect(cart, price)) << "a resumed session brings the next ticket";
    EXPECT_FALSE(connect(cart, price, "10.0.0.2:15008")) << "another key";
    EXPECT_FALSE(connect(cart, price, "")) << "no key";
}

TEST_F(Sessions, do_not_resume_once_anything_changed) {
    auto cart_svid = ca_.issue(identity("cart"), hour, now).value();
    auto price_svid = ca_.issue(identity("price"), hour, now).value();
    auto other_bundle = bundle_of(ca_, {"old-td"});
    auto cart = context_of(cart_svid, bundle_);
    auto price = context_of(price_svid, bundle_);
    EXPECT_FALSE(connect(cart, price));
    EXPECT_TRUE(connect(cart, price));
    EXPECT_FALSE(connect(cart, context_of(price_svid, bundle_, 2))) << "policy generation";
    EXPECT_FALSE(connect(cart, context_of(price_svid, other_bundle))) << "bundle";
    auto renewed = ca_.issue(identity("price"), hour, now).value();
    EXPECT_FALSE(connect(cart, context_of(renewed, bundle_))) << "certificate";
    EXPECT_FALSE(connect(context_of(cart_svid, bundle_), price)) << "client's own context";
}

TEST_F(Sessions, judge_a_resumed_peer_by_the_expectation_and_time_of_now) {
    auto cart = context("cart");
    auto price = context("price");
    EXPECT_FALSE(connect(cart, price));
    auto client = client_of(cart, ExpectedPeer::any(), "10.0.0.1:15008");
    auto strict = server_of(price, ExpectedPeer::exactly(identity("frontend")));
    EXPECT_EQ(outcome(client, strict).server, "unexpected_identity");
    EXPECT_FALSE(strict.peer().has_value());
    EXPECT_FALSE(strict.established());
    EXPECT_FALSE(client.transport_ended());
    EXPECT_EQ(cart->client_sessions(), 0u) << "cut before the first byte: full handshake next";

    connect(cart, price);
    auto client2 = client_of(cart, ExpectedPeer::exactly(identity("stock")), "10.0.0.1:15008");
    auto server2 = server_of(price);
    EXPECT_EQ(outcome(client2, server2).client, "unexpected_identity");
    EXPECT_EQ(cart->client_sessions(), 0u) << "a ticket that led to a refusal is dropped";

    connect(cart, price);
    auto client3 = client_of(cart, ExpectedPeer::any(), "10.0.0.1:15008");
    auto server3 = TlsSession::server(price, {ExpectedPeer::any(), now + 2 * hour}).value();
    EXPECT_EQ(outcome(client3, server3).server, "expired");
}

TEST_F(Sessions, live_on_while_contexts_are_replaced) {
    auto cart = context("cart");
    auto price = context("price");
    auto client = client_of(cart);
    auto server = server_of(price);
    shake_hands(client, server);
    std::weak_ptr<TlsContext> old = price;
    cart.reset();
    price = context("price", 2);
    EXPECT_FALSE(old.expired()) << "held by the live session";
    EXPECT_EQ(feed(server, seal(client, bytes_of("still here"))), bytes_of("still here"));
    EXPECT_EQ(feed(client, seal(server, bytes_of("me too"))), bytes_of("me too"));
    {
        auto gone = std::move(server);
    }
    EXPECT_TRUE(old.expired());
}

TEST_F(Sessions, keep_a_bounded_number_of_tickets) {
    auto cart = context("cart");
    auto price = context("price");
    for (std::size_t at = 0; at < limits::tls_client_sessions_max + 4; ++at) {
        connect(cart, price, fmt::format("10.0.{}.{}:15008", at / 256, at % 256));
    }
    EXPECT_EQ(cart->client_sessions(), limits::tls_client_sessions_max);
}

TEST_F(Sessions, work_on_several_threads_each_with_its_own_context_of_one_svid) {
    auto cart = ca_.issue(identity("cart"), hour, now).value();
    auto price = ca_.issue(identity("price"), hour, now).value();
    std::vector<std::thread> cores;
    for (int core = 0; core < 4; ++core) {
        cores.emplace_back([&] {
            auto from = context_of(cart, bundle_);
            auto to = context_of(price, bundle_);
            for (int round = 0; round < 5; ++round) {
                EXPECT_EQ(connect(from, to), round != 0);
            }
        });
    }
    for (auto& core : cores) {
        core.join();
    }
}

// Peers of other meshes: Istio's own CA issues RSA-2048, others Ed25519 or P-384.
TEST_F(Sessions, accept_peers_with_other_kinds_of_keys) {
    struct Case {
        const char* name;
        EVP_PKEY* key;
        const EVP_MD* digest;
    };
    const std::vector<Case> cases{
        {"RSA-2048", EVP_RSA_gen(2048), EVP_sha256()},
        {"P-384", EVP_EC_gen("P-384"), EVP_sha256()},
        {"Ed25519", EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), nullptr}};
    for (const auto& each : cases) {
        Issuer root{Owned<evp_pkey_st>(each.key), nullptr};
        root.certificate = make_root(*root.key, "mesh", {now - hour, now + hour}).value();
        auto bundle = TrustBundle::create({"cluster.local", {}, {{"cluster.local", root.pem()}}});
        Owned<x509_st> leaf =
            make_leaf(
                {"spiffe://cluster.local/ns/shop/sa/cart", each.key, {now - hour, now + hour}},
                *root.certificate,
                *root.key)
                .value();
        auto svid = Svid::from_pem(certificate_pem(*leaf), private_key_pem(*each.key)).value();
        auto client = client_of(context_of(svid, bundle.value()));
        auto server = server_of(context_of(svid, bundle.value()));
        auto result = outcome(client, server);
        EXPECT_EQ(result.client + result.server, "okok")
            << each.name << (server.error() ? server.error()->context : "")
            << (client.error() ? client.error()->context : "");
    }
}

TEST_F(Sessions, refuse_a_key_that_is_too_weak) {
    Issuer root{Owned<evp_pkey_st>(EVP_RSA_gen(1024)), nullptr};
    root.certificate = make_root(*root.key, "mesh", {now - hour, now + hour}).value();
    auto bundle =
        TrustBundle::create({"cluster.local", {}, {{"cluster.local", root.pem()}}}).value();
    auto good_key = generate_key().value();
    auto leaf =
        make_leaf(
            {"spiffe://cluster.local/ns/shop/sa/cart", good_key.get(), {now - hour, now + hour}},
            *root.certificate,
            *root.key)
            .value();
    EXPECT_EQ(reason(verify({leaf.get()}, *bundle)), "untrusted_chain");
}

TEST_F(Sessions, know_when_their_context_is_out_of_date) {
    auto svid = ca_.issue(identity("cart"), hour, now).value();
    auto cart = context_of(svid, bundle_, 1);
    EXPECT_FALSE(cart->outdated_by(svid, *bundle_, 1));
    EXPECT_TRUE(cart->outdated_by(svid, *bundle_, 2));
    EXPECT_TRUE(cart->outdated_by(svid, *bundle_of(ca_, {"x"}), 1));
    EXPECT_TRUE(cart->outdated_by(ca_.issue(identity("cart"), hour, now).value(), *bundle_, 1));
}

}  // namespace
}  // namespace orlop::mtls
