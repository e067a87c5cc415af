// TLS with peers outside the mesh: every mode of a gateway and of a DestinationRule.
#include "daemon/base/tls_terms.h"
#include "tests/unit/mtls/fixture.h"

#include <gmock/gmock.h>

#include <set>

namespace orlop::mtls {
namespace {

using namespace orlop::mtls::testing;

std::string key_text(const Issuer& of) {
    return private_key_pem(*of.key);
}

Craft named(const std::string& dns) {
    Craft craft;
    craft.uris.clear();
    craft.dns = dns;
    return craft;
}

std::shared_ptr<TlsContext> context_for(TlsTerms terms) {
    terms.label = "test";
    return TlsContext::create_foreign(std::make_shared<const TlsTerms>(std::move(terms))).value();
}

class Foreign : public ::testing::Test {
protected:
    TlsTerms server_terms() const {
        TlsTerms terms;
        terms.certificates = site_.pem();
        terms.private_key = key_text(site_);
        terms.alpn = {"h2", "http/1.1"};
        return terms;
    }
    TlsTerms client_terms() const {
        TlsTerms terms;
        terms.role = TlsRole::client;
        terms.peer = TlsPeer::required;
        terms.roots = root_.pem();
        terms.server_name = "shop.example.com";
        terms.peer_names = {"shop.example.com"};
        terms.alpn = {"http/1.1"};
        return terms;
    }
    TlsTerms with_certificate(TlsTerms terms, const Issuer& of) const {
        terms.certificates = of.pem();
        terms.private_key = key_text(of);
        return terms;
    }
    struct Outcome {
        bool established = false;
        std::string client_error;
        std::string server_error;
    };
    static Outcome connect(const TlsTerms& from, const TlsTerms& to) {
        auto client = client_of(context_for(from));
        auto server = server_of(context_for(to));
        shake_hands(client, server);
        auto text = [](const TlsSession& end) {
            return end.error() ? end.error()->context : std::string();
        };
        return {client.established() && server.established() && text(client).empty() &&
                    text(server).empty(),
                text(client),
                text(server)};
    }

    Issuer root_ = new_issuer();
    Issuer stranger_ = new_issuer("stranger");
    Issuer site_ = signed_by(root_, named("*.example.com"));
    Issuer visitor_ = signed_by(root_, named("visitor.example.org"));
};

TEST_F(Foreign, carries_bytes_over_either_version) {
    for (TlsVersion version : {TlsVersion::tls1_2, TlsVersion::tls1_3}) {
        TlsTerms terms = client_terms();
        terms.version_min = terms.version_max = version;
        auto client = client_of(context_for(terms));
        auto server = server_of(context_for(server_terms()));
        shake_hands(client, server, 100);
        ASSERT_TRUE(client.established() && server.established());
        EXPECT_EQ(client.alpn(), "http/1.1");
        EXPECT_EQ(server.alpn(), "http/1.1");
        Bytes text(100'000, 'x');
        EXPECT_EQ(feed(server, seal(client, text)), text);
        EXPECT_EQ(feed(client, seal(server, text), 1000), text);
        client.close_notify();
        feed(server, drain(client));
        EXPECT_TRUE(server.peer_closed());
    }
}

TEST_F(Foreign, works_without_alpn_on_either_side) {
    TlsTerms silent = client_terms();
    silent.alpn.clear();
    EXPECT_TRUE(connect(silent, server_terms()).established);
    TlsTerms other = client_terms();
    other.alpn = {"smtp"};
    EXPECT_TRUE(connect(other, server_terms()).established);
    TlsTerms deaf = server_terms();
    deaf.alpn.clear();
    EXPECT_TRUE(connect(client_terms(), deaf).established);
}

TEST_F(Foreign, refuses_versions_below_the_minimum) {
    TlsTerms old = client_terms();
    old.version_max = TlsVersion::tls1_2;
    TlsTerms strict = server_terms();
    strict.version_min = TlsVersion::tls1_3;
    auto outcome = connect(old, strict);
    EXPECT_FALSE(outcome.established);
    EXPECT_THAT(outcome.server_error, ::testing::HasSubstr("TLS version"));
}

TEST_F(Foreign, judges_the_server_by_roots_and_names) {
    struct Case {
        const char* what;
        std::function<void(TlsTerms&)> change;
        const char* error;  // empty: established
    };
    const Case cases[] = {
        {"as it should be", [](TlsTerms&) {}, ""},
        {"any name", [](TlsTerms& terms) { terms.peer_names.clear(); }, ""},
        {"one of several names",
         [](TlsTerms& terms) { terms.peer_names = {"other.org", "a.example.com"}; },
         ""},
        {"another name",
         [](TlsTerms& terms) { terms.peer_names = {"shop.example.org"}; },
         "none of the names [shop.example.org]"},
        {"a wildcard covers one label only",
         [](TlsTerms& terms) { terms.peer_names = {"a.b.example.com"}; },
         "none of the names"},
        {"another root",
         [this](TlsTerms& terms) { terms.roots = stranger_.pem(); },
         "the CA certificates that are configured"},
        {"the system's roots",
         [](TlsTerms& terms) { terms.roots.clear(); },
         "the operating system's CAs"},
        {"the very certificate as root",
         [this](TlsTerms& terms) { terms.roots = site_.pem(); },
         ""},
        {"nobody asks",
         [this](TlsTerms& terms) {
             terms.peer = TlsPeer::unchecked;
             terms.roots = stranger_.pem();
         },
         ""},
    };
    for (const Case& c : cases) {
        TlsTerms terms = client_terms();
        c.change(terms);
        auto outcome = connect(terms, server_terms());
        bool wanted = std::string_view(c.error).empty();
        EXPECT_EQ(outcome.established, wanted) << c.what << ": " << outcome.client_error;
        EXPECT_THAT(outcome.client_error, ::testing::HasSubstr(c.error)) << c.what;
        EXPECT_EQ(outcome.server_error.empty(), wanted) << c.what;
    }
}

TEST_F(Foreign, refuses_an_expired_server) {
    Craft craft = named("shop.example.com");
    craft.not_after = now - std::chrono::minutes(1);
    auto outcome =
        connect(client_terms(), with_certificate(server_terms(), signed_by(root_, craft)));
    EXPECT_THAT(outcome.client_error, ::testing::HasSubstr("expired"));
}

TEST_F(Foreign, asks_the_client_for_a_certificate_as_its_mode_says) {
    TlsTerms mutual = server_terms();
    mutual.peer = TlsPeer::required;
    mutual.roots = root_.pem();
    TlsTerms optional = mutual;
    optional.peer = TlsPeer::optional;
    TlsTerms picky = mutual;
    picky.peer_names = {"visitor.example.org"};
    TlsTerms pickier = mutual;
    pickier.peer_names = {"somebody.example.org"};
    TlsTerms bare = client_terms();
    TlsTerms known = with_certificate(client_terms(), visitor_);
    TlsTerms unknown =
        with_certificate(client_terms(), signed_by(stranger_, named("visitor.example.org")));
    struct Case {
        const char* what;
        const TlsTerms& client;
        const TlsTerms& server;
        bool established;
    };
    const TlsTerms simple = server_terms();
    const Case cases[] = {
        {"SIMPLE, no certificate", bare, simple, true},
        {"SIMPLE, a certificate nobody asks for", unknown, simple, true},
        {"MUTUAL, no certificate", bare, mutual, false},
        {"MUTUAL, a good one", known, mutual, true},
        {"MUTUAL, a stranger's", unknown, mutual, false},
        {"OPTIONAL_MUTUAL, none", bare, optional, true},
        {"OPTIONAL_MUTUAL, a good one", known, optional, true},
        {"OPTIONAL_MUTUAL, a stranger's", unknown, optional, false},
        {"MUTUAL with names, the right one", known, picky, true},
        {"MUTUAL with names, another", known, pickier, false},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(connect(c.client, c.server).established, c.established) << c.what;
    }
}

TEST_F(Foreign, recognises_a_uri) {
    Craft craft;
    craft.dns = "";
    TlsTerms terms = client_terms();
    terms.peer_names = {"spiffe://cluster.local/ns/shop/sa/cart"};
    TlsTerms server = with_certificate(server_terms(), signed_by(root_, craft));
    EXPECT_TRUE(connect(terms, server).established);
    terms.peer_names = {"spiffe://cluster.local/ns/shop/sa/car"};
    EXPECT_FALSE(connect(terms, server).established);
}

// ISTIO_MUTUAL: the mesh's own roots vouch for the client, so its certificate says who it is.
TEST_F(Foreign, knows_who_calls_only_where_the_roots_are_the_meshs) {
    TlsTerms mutual = server_terms();
    mutual.peer = TlsPeer::required;
    mutual.roots = root_.pem();
    TlsTerms mesh = mutual;
    mesh.mesh_identity = SpiffeId{"cluster.local", "istio-system", "gateway"};
    TlsTerms cart = with_certificate(client_terms(), signed_by(root_, Craft{}));
    TlsTerms nameless = with_certificate(client_terms(), visitor_);  // a DNS name and no URI
    auto peer = [&](const TlsTerms& from, const TlsTerms& to) -> std::string {
        auto client = client_of(context_for(from));
        auto server = server_of(context_for(to));
        shake_hands(client, server);
        return server.peer() ? server.peer()->id.to_string() : "";
    };
    EXPECT_EQ(peer(cart, mesh), "spiffe://cluster.local/ns/shop/sa/cart");
    EXPECT_EQ(peer(cart, mutual), "")
        << "roots that an operator chose vouch for nobody in the mesh";
    EXPECT_EQ(peer(nameless, mesh), "") << "let in, as one without an identity";
    EXPECT_TRUE(connect(nameless, mesh).established);
}

TEST_F(Foreign, sends_the_name_it_wants) {
    auto client = client_of(context_for(client_terms()));
    Bytes hello = drain(client);
    EXPECT_THAT(std::string(hello.begin(), hello.end()), ::testing::HasSubstr("shop.example.com"));
}

TEST_F(Foreign, terms_that_cannot_work_are_refused_with_their_cause) {
    struct Case {
        std::function<void(TlsTerms&)> change;
        const char* error;
    };
    const Case cases[] = {
        {[](TlsTerms& terms) { terms.certificates = "no PEM"; }, "certificate: not a list of PEM"},
        {[](TlsTerms& terms) { terms.private_key = "no PEM"; }, "private key: not an unencrypted"},
        {[this](TlsTerms& terms) { terms.private_key = key_text(visitor_); }, "does not belong"},
        {[](TlsTerms& terms) { terms.certificates = terms.private_key = ""; },
         "needs a certificate"},
        {[](TlsTerms& terms) {
             terms.peer = TlsPeer::required;
             terms.roots = "no PEM";
         },
         "CA certificates: not a list"},
    };
    for (const Case& c : cases) {
        TlsTerms terms = server_terms();
        terms.label = "Gateway shop/web";
        std::string key = terms.private_key;
        c.change(terms);
        auto made = TlsContext::create_foreign(std::make_shared<const TlsTerms>(terms));
        ASSERT_FALSE(made.has_value()) << c.error;
        EXPECT_THAT(made.error().context, ::testing::StartsWith("Gateway shop/web: "));
        EXPECT_THAT(made.error().context, ::testing::HasSubstr(c.error));
        EXPECT_THAT(made.error().context, ::testing::Not(::testing::HasSubstr(key)));
    }
}

TEST_F(Foreign, keys_of_terms_tell_every_difference) {
    std::vector<TlsTerms> all(8, server_terms());
    all[1].private_key += " ";
    all[2].alpn = {"h2http/1.1"};
    all[3].peer = TlsPeer::required;
    all[4].server_name = "a";
    all[5].peer_names = {"a"};
    all[6].version_min = TlsVersion::tls1_3;
    all[7].mesh_identity = identity("cart");
    std::set<std::string> keys;
    for (const TlsTerms& terms : all) {
        keys.insert(tls_terms_key(terms));
        EXPECT_EQ(tls_terms_key(terms), tls_terms_key(terms));
    }
    EXPECT_EQ(keys.size(), all.size());
}

}  // namespace
}  // namespace orlop::mtls
