#include "mtls/ca.h"
#include "tests/unit/mtls/fixture.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace orlop::mtls {
namespace {

using namespace orlop::mtls::testing;
namespace fs = std::filesystem;

class CaFiles : public ::testing::Test {
protected:
    CaFiles() {
        char path[] = "/tmp/orlop-ca-test-XXXXXX";
        root_ = ::mkdtemp(path);
        directory_ = root_ + "/ca";
    }
    ~CaFiles() override { fs::remove_all(root_); }

    Result<CertificateAuthority> load() {
        return CertificateAuthority::load_or_create({directory_, "cluster.local"}, now);
    }
    std::string file(const std::string& name) const { return directory_ + "/" + name; }
    std::string content(const std::string& name) const {
        std::ifstream in(file(name));
        return std::string(std::istreambuf_iterator<char>(in), {});
    }
    unsigned mode(const std::string& name) const {
        struct stat state{};
        ::stat(file(name).c_str(), &state);
        return state.st_mode & 07777;
    }
    void write(const std::string& name, const std::string& text, unsigned mode = 0600) {
        fs::create_directories(directory_);
        std::ofstream(file(name)) << text;
        ::chmod(file(name).c_str(), mode);
    }
    // root -> middle -> (issuer), as four files.
    void write_plugin() {
        plugin_root_ = new_issuer("mesh root");
        plugin_issuer_ = signed_by(plugin_root_, intermediate_craft(), "issuer");
        write("ca-key.pem", private_key_pem(*plugin_issuer_.key));
        write("ca-cert.pem", plugin_issuer_.pem(), 0644);
        write("cert-chain.pem", plugin_issuer_.pem() + plugin_root_.pem(), 0644);
        write("root-cert.pem", plugin_root_.pem(), 0644);
    }

    std::string root_;
    std::string directory_;
    Issuer plugin_root_;
    Issuer plugin_issuer_;
};

TEST_F(CaFiles, are_created_once_with_a_secret_key_and_reused) {
    auto first = load();
    ASSERT_TRUE(first) << first.error().context;
    EXPECT_EQ(mode("ca-key.pem"), 0600u);
    auto second = load();
    ASSERT_TRUE(second) << second.error().context;
    EXPECT_EQ(first->roots_pem(), second->roots_pem());
    auto svid = second->issue(identity("cart"), hour, now).value();
    EXPECT_EQ(reason(verify({svid.material().chain.front().get()}, *bundle_of(*first))),
              "accepted");
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
}

TEST_F(CaFiles, end_with_one_root_when_several_start_at_once) {
    std::vector<std::string> roots(8);
    std::vector<std::thread> starters;
    for (auto& root : roots) {
        starters.emplace_back([&] { root = load().value().roots_pem(); });
    }
    for (auto& starter : starters) {
        starter.join();
    }
    for (const auto& root : roots) {
        EXPECT_EQ(root, roots.front());
    }
}

TEST_F(CaFiles, keep_the_key_after_a_crash_between_the_two_files) {
    ASSERT_TRUE(load());
    fs::remove(file("root-cert.pem"));
    write(".root-cert.pem.new", "half a certifi");
    std::string key = content("ca-key.pem");
    auto again = load();
    ASSERT_TRUE(again) << again.error().context;
    EXPECT_EQ(content("ca-key.pem"), key);
    EXPECT_EQ(content("root-cert.pem"), again->roots_pem());
    ASSERT_TRUE(load());
}

TEST_F(CaFiles, are_refused_by_name_and_with_the_remedy) {
    ASSERT_TRUE(load());
    auto refused = [&](const char* name, const char* remedy) {
        auto loaded = load();
        ASSERT_FALSE(loaded);
        EXPECT_NE(loaded.error().context.find(file(name)), std::string::npos)
            << loaded.error().context;
        EXPECT_NE(loaded.error().context.find(remedy), std::string::npos) << loaded.error().context;
    };
    ::chmod(file("ca-key.pem").c_str(), 0640);
    refused("ca-key.pem", "chmod 600");
    write("ca-key.pem", private_key_pem(*generate_key().value()));
    refused("ca-key.pem", "restore both");
    write("ca-key.pem", "garbage");
    refused("ca-key.pem", "PEM private key");
    fs::remove(file("ca-key.pem"));
    refused("ca-key.pem", "restore the key");
    fs::create_directory(file("ca-key.pem"));
    refused("ca-key.pem", "not a regular file");
}

TEST_F(CaFiles, are_refused_when_the_root_has_ended) {
    ASSERT_TRUE(load());
    auto later =
        CertificateAuthority::load_or_create({directory_, "cluster.local"}, now + ca_ttl + hour);
    ASSERT_FALSE(later);
    EXPECT_NE(later.error().context.find("replace the CA"), std::string::npos);
}

TEST_F(CaFiles, of_istios_cacerts_names_issue_chains_that_verify) {
    write_plugin();
    auto ca = CertificateAuthority::load_plugin(directory_, now);
    ASSERT_TRUE(ca) << ca.error().context;
    auto svid = ca->issue(identity("cart"), 24 * hour, now).value();
    ASSERT_EQ(svid.material().chain.size(), 2u) << "leaf and issuer, no root";
    std::vector<const x509_st*> chain;
    for (const auto& certificate : svid.material().chain) {
        chain.push_back(certificate.get());
    }
    EXPECT_EQ(reason(verify(chain, *bundle_of(*ca))), "accepted");
    EXPECT_EQ(svid.not_after(), now + hour) << "cut to the issuer's own end";
}

TEST_F(CaFiles, of_a_plugin_are_checked_before_anything_is_signed) {
    struct Case {
        const char* name;
        std::function<void()> spoil;
    };
    const std::vector<Case> cases{
        {"ca-key.pem", [&] { ::chmod(file("ca-key.pem").c_str(), 0644); }},
        {"ca-key.pem", [&] { write("ca-key.pem", private_key_pem(*generate_key().value())); }},
        {"root-cert.pem", [&] { write("root-cert.pem", new_issuer("mesh root").pem()); }},
        {"cert-chain.pem", [&] { fs::remove(file("cert-chain.pem")); }},
        {"ca-cert.pem",
         [&] {
             Issuer leaf = signed_by(plugin_root_, {});
             write("ca-cert.pem", leaf.pem());
             write("ca-key.pem", private_key_pem(*leaf.key));
         }},
        {"root-cert.pem", [&] { write("root-cert.pem", std::string(2 << 20, 'x')); }},
    };
    for (const auto& each : cases) {
        fs::remove_all(directory_);
        write_plugin();
        each.spoil();
        auto ca = CertificateAuthority::load_plugin(directory_, now);
        ASSERT_FALSE(ca) << each.name;
        EXPECT_NE(ca.error().context.find(each.name), std::string::npos) << ca.error().context;
    }
}

TEST(Ca, issues_a_leaf_that_is_exactly_an_svid) {
    auto ca = new_ca();
    auto svid = ca.issue(identity("cart"), 24 * hour, now).value();
    EXPECT_EQ(svid.identity(), identity("cart"));
    EXPECT_EQ(svid.not_after(), now + 24 * hour);
    EXPECT_EQ(svid.not_before(), now - clock_skew_allowed);
    EXPECT_NE(svid.serial_hex(), ca.issue(identity("cart"), hour, now)->serial_hex());
    X509* leaf = svid.material().chain.front().get();
    EXPECT_EQ(X509_get_key_usage(leaf), static_cast<std::uint32_t>(KU_DIGITAL_SIGNATURE));
    EXPECT_EQ(X509_get_extended_key_usage(leaf),
              static_cast<std::uint32_t>(XKU_SSL_SERVER | XKU_SSL_CLIENT));
    EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
    int san = X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1);
    EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(leaf, san)), 1);
}

TEST(Ca, refuses_identities_and_lifetimes_out_of_bounds) {
    auto ca = new_ca();
    EXPECT_FALSE(ca.issue({"cluster.local", "shop/sa/x", "cart"}, hour, now));
    EXPECT_FALSE(ca.issue({"cluster.local", "shop", "cart,URI:spiffe://a/ns/b/sa/c"}, hour, now));
    EXPECT_FALSE(ca.issue({"cluster.local", "", "cart"}, hour, now));
    EXPECT_FALSE(ca.issue(identity("cart"), std::chrono::seconds(0), now));
    EXPECT_FALSE(ca.issue(identity("cart"), svid_ttl_max + hour, now));
    EXPECT_FALSE(ca.issue(identity("cart"), hour, now + ca_ttl + hour));
    auto last = ca.issue(identity("cart"), 24 * hour, now + ca_ttl - hour);
    ASSERT_TRUE(last);
    EXPECT_EQ(last->not_after(), ca.not_after());
}

TEST(Svid, survives_pem_and_refuses_a_foreign_key) {
    auto ca = new_ca();
    auto svid = ca.issue(identity("cart"), hour, now).value();
    auto other = ca.issue(identity("price"), hour, now).value();
    auto again = Svid::from_pem(svid.chain_pem(), svid.key_pem());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->fingerprint(), svid.fingerprint());
    EXPECT_FALSE(Svid::from_pem(svid.chain_pem(), other.key_pem()));
    EXPECT_FALSE(Svid::from_pem(ca.roots_pem(), svid.key_pem()));
    EXPECT_FALSE(Svid::from_pem("", ""));
}

TEST(Svid, renews_at_half_of_life_moved_by_jitter) {
    auto svid = new_ca().issue(identity("cart"), 24 * hour, now).value();
    auto life = svid.not_after() - svid.not_before();
    EXPECT_EQ(svid.renew_at(0), svid.not_before() + life / 2);
    auto spread = svid.renew_at(0.01) - svid.renew_at(-0.01);
    EXPECT_EQ(std::chrono::round<std::chrono::milliseconds>(spread), life / 50);
    EXPECT_LT(svid.renew_at(5), svid.not_after());
}

}  // namespace
}  // namespace orlop::mtls
