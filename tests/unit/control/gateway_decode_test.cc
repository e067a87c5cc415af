#include "daemon/control/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using testing::HasSubstr;

std::string gateway(const std::string& servers) {
    return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n"
           "  selector: {istio: ingressgateway}\n" +
           servers;
}

std::string server(const std::string& port, const std::string& rest = "") {
    return gateway("  servers:\n  - port: {" + port + "}\n    hosts: ['*']\n" + rest);
}

std::string https(const std::string& tls) {
    return server("number: 443, name: https, protocol: HTTPS", "    tls: {" + tls + "}\n");
}

struct Refused {
    const char* path;
    const char* says;
    std::string text;
};

const Refused refusals[] = {
    {"spec.servers", "at least one server", gateway("")},
    {"spec.servers[0]", "port is required", gateway("  servers:\n  - hosts: ['*']\n")},
    {"spec.servers[0].hosts",
     "at least one host",
     gateway("  servers:\n  - port: {number: 80, name: a, protocol: HTTP}\n")},
    {"spec.servers[0].port.name", "port name must be set", server("number: 80, protocol: HTTP")},
    {"spec.servers[0].port", "number is missing", server("name: a, protocol: HTTP")},
    {"spec.servers[0].port.number", "", server("number: 0, name: a, protocol: HTTP")},
    {"spec.servers[0].port.number", "", server("number: 65536, name: a, protocol: HTTP")},
    {"spec.servers[0].port.protocol",
     "invalid protocol",
     server("number: 80, name: a, protocol: HTTP3")},
    {"spec.servers[0].tls",
     "must have TLS settings",
     server("number: 443, name: a, protocol: HTTPS")},
    {"spec.servers[0].tls", "must have TLS settings", server("number: 1, name: a, protocol: TLS")},
    {"spec.servers[0].tls",
     "cannot have TLS settings for plain text HTTP",
     server("number: 80, name: a, protocol: HTTP", "    tls: {mode: SIMPLE, credentialName: c}\n")},
    {"spec.servers[0].tls", "httpsRedirect is for plain", https("httpsRedirect: true")},
    {"spec.servers[0].tls", "require a server certificate", https("mode: SIMPLE")},
    {"spec.servers[0].tls",
     "require a private key",
     https("mode: SIMPLE, serverCertificate: /a.pem")},
    {"spec.servers[0].tls",
     "requires a client CA bundle",
     https("mode: MUTUAL, serverCertificate: /a.pem, privateKey: /b.pem")},
    {"spec.servers[0].tls.credentialName",
     "exclude each other",
     https("mode: SIMPLE, credentialName: c, privateKey: /b.pem, serverCertificate: /a.pem")},
    {"spec.servers[0].tls.credentialName",
     "names another namespace",
     https("mode: SIMPLE, credentialName: prod/c")},
    {"spec.servers[0].tls",
     "ISTIO_MUTUAL TLS cannot have",
     https("mode: ISTIO_MUTUAL, credentialName: c")},
    {"spec.servers[0].tls.mode",
     "AUTO_PASSTHROUGH is not offered",
     https("mode: AUTO_PASSTHROUGH")},
    {"spec.servers[0].tls.minProtocolVersion",
     "below 1.2",
     https("mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_0")},
    {"spec.servers[0].tls.maxProtocolVersion",
     "is below minProtocolVersion",
     https("mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_3, "
           "maxProtocolVersion: TLSV1_2")},
    {"spec.servers[0].hosts",
     "is no host",
     gateway("  servers:\n  - port: {number: 80, name: a, protocol: HTTP}\n    hosts: ['a b']\n")},
    {"spec.servers[0].hosts",
     "is no host",
     gateway(
         "  servers:\n  - port: {number: 80, name: a, protocol: HTTP}\n    hosts: ['A_B/x']\n")},
    {"spec.servers[0].bind",
     "is no address",
     server("number: 80, name: a, protocol: HTTP", "    bind: localhost\n")},
    {"spec.servers[1].port.name",
     "must be unique",
     gateway("  servers:\n"
             "  - port: {number: 80, name: a, protocol: HTTP}\n    hosts: ['*']\n"
             "  - port: {number: 81, name: a, protocol: HTTP}\n    hosts: ['*']\n")},
};

TEST(GatewayDecoding, refuses_with_path_and_gist) {
    for (const Refused& c : refusals) {
        auto decoded = decode_text(c.text, {.file = "gw.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << c.text;
        const DecodedObject& object = decoded.objects[0];
        EXPECT_EQ(object.object, nullptr) << c.text;
        ASSERT_FALSE(object.findings.empty()) << c.text;
        bool found = false;
        for (const Finding& finding : object.findings) {
            found = found ||
                    (finding.path == c.path && finding.message.find(c.says) != std::string::npos &&
                     finding.file == "gw.yaml" && finding.line > 0);
        }
        EXPECT_TRUE(found) << c.path << ": " << c.says << "\n"
                           << object.findings[0].to_string() << "\n"
                           << c.text;
    }
}

TEST(GatewayDecoding, takes_every_protocol_and_mode) {
    for (const char* protocol : {"HTTP", "http", "GRPC", "GRPC-WEB", "HTTP2", "TCP", "MONGO"}) {
        auto text = server("number: 80, name: a, protocol: " + std::string(protocol));
        EXPECT_NE(decode_text(text, {}).objects.at(0).object, nullptr) << protocol;
    }
    for (const char* tls : {"mode: SIMPLE, credentialName: c",
                            "mode: MUTUAL, credentialName: c",
                            "mode: OPTIONAL_MUTUAL, credentialName: c, subjectAltNames: [a]",
                            "mode: ISTIO_MUTUAL",
                            "mode: PASSTHROUGH",
                            "mode: MUTUAL, serverCertificate: /a, privateKey: /b, "
                            "caCertificates: /c, minProtocolVersion: TLSV1_3"}) {
        EXPECT_NE(decode_text(https(tls), {}).objects.at(0).object, nullptr) << tls;
    }
}

TEST(GatewayDecoding, splits_namespaces_off_hosts) {
    auto decoded =
        decode_text(gateway("  servers:\n  - port: {number: 80, name: a, protocol: HTTP}\n"
                            "    hosts: [Shop.Example.COM, './*', prod/*.example.com, '*/a.b']\n"),
                    {});
    const auto& hosts =
        std::get<GatewaySpec>(decoded.objects.at(0).object->spec).servers.at(0).hosts;
    ASSERT_EQ(hosts.size(), 4u);
    EXPECT_EQ(hosts[0].ns + "/" + hosts[0].name, "*/shop.example.com");
    EXPECT_EQ(hosts[1].ns + "/" + hosts[1].name, "default/*");
    EXPECT_EQ(hosts[2].ns + "/" + hosts[2].name, "prod/*.example.com");
    EXPECT_EQ(hosts[3].ns + "/" + hosts[3].name, "*/a.b");
}

TEST(SecretDecoding, keeps_credentials_and_nothing_else) {
    auto decoded = decode_text("apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n"
                               "type: kubernetes.io/tls\n"
                               "data:\n  tls.crt: Y2VydA==\n  tls.key: |\n    a2\n    V5\n"
                               "  password: c2VjcmV0\n"
                               "stringData:\n  ca.crt: roots\n",
                               {});
    const DecodedObject& object = decoded.objects.at(0);
    ASSERT_NE(object.object, nullptr);
    const auto& secret = std::get<SecretSpec>(object.object->spec);
    EXPECT_EQ(secret.certificate, "cert");
    EXPECT_EQ(secret.private_key, "key");
    EXPECT_EQ(secret.roots, "roots");
    EXPECT_EQ(object.object->written, "");
}

TEST(SecretDecoding, never_repeats_what_it_cannot_read) {
    for (const char* data : {"data: {tls.key: 'not*base64'}",
                             "data: {tls.key: [secret-text]}",
                             "data: {key: 'QQ==QQ'}"}) {
        auto decoded = decode_text(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n" + std::string(data) + "\n", {});
        const DecodedObject& object = decoded.objects.at(0);
        EXPECT_EQ(object.object, nullptr) << data;
        ASSERT_EQ(object.findings.size(), 1u) << data;
        EXPECT_THAT(object.findings[0].to_string(), HasSubstr("base64"));
        EXPECT_THAT(object.findings[0].to_string(), Not(HasSubstr("not*")));
        EXPECT_THAT(object.findings[0].to_string(), Not(HasSubstr("secret-text")));
    }
}

TEST(MeshConfigDecoding, says_which_gateway_a_node_is) {
    auto decoded = decode_text(
        "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: a}\nspec:\n  gateway:\n"
        "    labels: {istio: edge}\n    namespace: edge\n    name: edge-gateway\n"
        "    serviceAccount: edge\n    addresses: [192.0.2.1, '2001:db8::1']\n    nodes: [n1]\n",
        {});
    ASSERT_NE(decoded.objects.at(0).object, nullptr);
    const auto& role = std::get<MeshConfigSpec>(decoded.objects[0].object->spec).mesh->gateway;
    EXPECT_EQ(role.labels, (model::Labels{{"istio", "edge"}}));
    EXPECT_EQ(role.ns, "edge");
    EXPECT_EQ(role.addresses.size(), 2u);
    EXPECT_EQ(role.nodes, std::vector<std::string>{"n1"});
}

}  // namespace
}  // namespace orlop::control
