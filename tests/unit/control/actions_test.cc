// What is read of header operators, rate limits, tracing; what is refused, and with which words.
#include "daemon/base/limits.h"
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/objects/header_text.h"

#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using Operator = model::HeaderText::Operator;

std::string vs(const std::string& lines) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n"
           "  hosts: [a]\n  http:\n  - route: [{destination: {host: a}}]\n" +
           lines;
}
std::string limit(const std::string& spec) {
    return "apiVersion: orlop.dev/v1\nkind: RateLimit\nmetadata: {name: a}\nspec:\n" + spec;
}
std::string mesh(const std::string& spec) {
    return "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: a}\nspec:\n" + spec;
}

TEST(HeaderText, is_cut_at_its_operators) {
    struct Row {
        std::string written;
        std::vector<std::pair<Operator, std::string>> pieces;
    };
    const Row rows[] = {
        {"%REQ(X-User)%", {{Operator::request_header, "x-user"}}},
        {"a %PROTOCOL% b%%",
         {{Operator::literal, "a "}, {Operator::protocol, ""}, {Operator::literal, " b%"}}},
        {"%START_TIME(%s.%3f)%!", {{Operator::start_time, "%s.%3f"}, {Operator::literal, "!"}}},
        {"%START_TIME%%HOSTNAME%", {{Operator::start_time, ""}, {Operator::hostname, ""}}},
        {"%DOWNSTREAM_REMOTE_ADDRESS%", {{Operator::downstream_remote_address, ""}}},
    };
    for (const Row& row : rows) {
        model::HeaderText text;
        EXPECT_EQ(parse_header_text(row.written, text), std::nullopt) << row.written;
        ASSERT_EQ(text.pieces.size(), row.pieces.size()) << row.written;
        for (std::size_t i = 0; i < row.pieces.size(); ++i) {
            EXPECT_EQ(text.pieces[i].op, row.pieces[i].first) << row.written;
            EXPECT_EQ(text.pieces[i].text, row.pieces[i].second) << row.written;
        }
    }
    model::HeaderText plain;
    EXPECT_EQ(parse_header_text("100%% plain", plain), std::nullopt);
    EXPECT_TRUE(plain.pieces.empty());
    EXPECT_EQ(plain.text, "100% plain");
    model::HeaderText sized;
    EXPECT_EQ(parse_header_text("%REQ(:path?x-b):8%", sized), std::nullopt);
    EXPECT_EQ(sized.pieces[0].text, ":path");
    EXPECT_EQ(sized.pieces[0].alternative, "x-b");
    EXPECT_EQ(sized.pieces[0].bytes_max, 8u);
}

struct Refused {
    std::string text;
    std::string path;
    std::string says;
};

TEST(Actions, are_refused_with_path_and_reason) {
    const std::string set = "    headers: {request: {set: {x: ";
    const std::string at = "spec.http[0].headers.request.set[x]";
    const Refused rows[] = {
        {vs(set + "'50%'}}}\n"), at, "without its second one"},
        {vs(set + "'%NOTHING%'}}}\n"), at, "no operator"},
        {vs(set + "'%REQ%'}}}\n"), at, "names no header"},
        {vs(set + "'%REQ(a b)%'}}}\n"), at, "names no header"},
        {vs(set + "'%REQ(a):x%'}}}\n"), at, "does not end with"},
        {vs(set + "'%PROTOCOL(x)%'}}}\n"), at, "takes nothing"},
        {vs("    headers: {request: {set: {host: '%REQ(a)%'}}}\n"),
         "spec.http[0].headers.request.set[host]",
         "cannot be made of operators"},
        {vs("    headers: {request: {set: {content-length: '1'}}}\n"),
         "spec.http[0].headers.request.set[content-length]",
         "frames the message"},
        {vs("    headers: {response: {remove: [Transfer-Encoding]}}\n"),
         "spec.http[0].headers.response.remove",
         "may not be removed"},
        {vs("    rewrite: {uriRegexRewrite: {match: 'a(b)', rewrite: '\\2'}}\n"),
         "spec.http[0].rewrite.uriRegexRewrite.rewrite",
         "group"},
        {limit("  interval: 1s\n"), "spec", "requests is missing"},
        {limit("  requests: 0\n"), "spec.requests", "range"},
        {limit("  requests: 1\n  interval: 25h\n"), "spec.interval", "longer than a day"},
        {limit("  requests: 1\n  key: [cookie]\n"), "spec.key", "no part of a key"},
        {limit("  requests: 1\n  key: ['header:']\n"), "spec.key", "no part of a key"},
        {limit("  requests: 1\n  key: [path,path,path,path,path,path,path,path,path]\n"),
         "spec.key",
         "more than 8"},
        {limit("  requests: 1\n  status: 200\n"), "spec.status", "range"},
        {limit("  requests: 1\n  burst: 1000000000\n  interval: 24h\n"), "spec.burst", "refill"},
        {limit("  requests: 1\n  hosts: ['a b']\n"), "spec.hosts", "no host name"},
        {mesh("  tracing: {exporter: otlp}\n"), "spec.tracing.address", "no address"},
        {mesh("  tracing: {exporter: otlp, address: 'collector:4318'}\n"),
         "spec.tracing.address",
         "no address"},
        {mesh("  tracing: {exporter: jaeger}\n"), "spec.tracing.exporter", "otlp"},
        {mesh("  tracing: {sampling: 101}\n"), "spec.tracing.sampling", "range"},
        {mesh("  tracing: {path: 'a b'}\n"), "spec.tracing.path", "begins with /"},
        {mesh("  faultSeed: -1\n"), "spec.faultSeed", "non-negative"},
    };
    for (const Refused& row : rows) {
        DecodedText decoded = decode_text(row.text, {.file = "a.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << row.text;
        ASSERT_FALSE(decoded.objects[0].findings.empty()) << row.text;
        EXPECT_EQ(decoded.objects[0].object, nullptr) << row.text;
        const Finding& first = decoded.objects[0].findings[0];
        EXPECT_EQ(first.path, row.path) << row.text;
        EXPECT_NE((first.message + first.hint).find(row.says), std::string::npos)
            << first.message << " / " << first.hint;
    }
}

struct Mesh {
    void apply(const std::string& name, const std::string& yaml) {
        store.replace_source(name, decode_text(yaml, {.file = name}), ++clock);
    }
    CompileResult compiled() { return compile(store, {.node = "n1"}); }
    ObjectStore store;
    std::int64_t clock = 0;
};

std::string service(const std::string& ns) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: " + ns +
           "}\nspec: {clusterIP: " + (ns == "a" ? "10.96.0.1" : "10.96.0.2") +
           ", ports: [{port: 80, name: http}]}\n";
}

TEST(RateLimit, of_a_service_binds_everybody_and_of_others_only_their_own_callers) {
    Mesh mesh;
    mesh.apply("s", service("a"));
    mesh.apply("t", service("b"));
    auto one = [](const std::string& ns, const std::string& name, const std::string& hosts) {
        return "apiVersion: orlop.dev/v1\nkind: RateLimit\nmetadata: {name: " + name +
               ", namespace: " + ns + "}\nspec: {requests: 5, hosts: [" + hosts + "]}\n";
    };
    mesh.apply("1", one("a", "own", "shop"));
    mesh.apply("2", one("c", "guest", "shop.a.svc.cluster.local"));
    mesh.apply("3", one("istio-system", "root", "'*'"));
    auto snapshot = mesh.compiled().snapshot;
    const model::VirtualHost* host = snapshot->find_virtual_host("x", "shop.a", 80);
    ASSERT_NE(host, nullptr);
    std::vector<std::pair<std::string, std::string>> found;
    for (const auto& limit : host->rate_limits) {
        found.emplace_back(limit->name, limit->source_namespace);
    }
    const std::vector<std::pair<std::string, std::string>> wanted = {
        {"a/own", ""}, {"c/guest", "c"}, {"istio-system/root", ""}};
    EXPECT_EQ(found, wanted);
    const model::VirtualHost* other = snapshot->find_virtual_host("x", "shop.b", 80);
    ASSERT_NE(other, nullptr);
    ASSERT_EQ(other->rate_limits.size(), 1u);
    EXPECT_EQ(other->rate_limits[0]->name, "istio-system/root");
    EXPECT_EQ(other->rate_limits[0]->burst, 5u);
}

TEST(RateLimit, beyond_the_bound_of_a_host_is_reported) {
    Mesh mesh;
    mesh.apply("s", service("a"));
    for (std::size_t i = 0; i <= limits::rate_limits_per_host_max; ++i) {
        std::string name = "limit-" + std::to_string(i);
        mesh.apply(name,
                   "apiVersion: orlop.dev/v1\nkind: RateLimit\nmetadata: {name: " + name +
                       ", namespace: a}\nspec: {requests: 5}\n");
    }
    CompileResult result = mesh.compiled();
    EXPECT_EQ(result.snapshot->find_virtual_host("a", "shop.a", 80)->rate_limits.size(),
              limits::rate_limits_per_host_max);
    ASSERT_FALSE(result.findings.empty());
    EXPECT_EQ(result.findings[0].code, "ORL017");
}

TEST(Tracing, is_read_from_the_mesh_config) {
    Mesh mesh;
    mesh.apply("m",
               "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec:\n"
               "  tracing: {sampling: 12.5, exporter: zipkin, address: '[::1]:9411', headers: b3}\n"
               "  faultSeed: 7\n");
    auto snapshot = mesh.compiled().snapshot;
    const model::TracingConfig& tracing = snapshot->mesh().tracing;
    EXPECT_EQ(tracing.sampling_percent, 12.5);
    EXPECT_EQ(tracing.exporter, model::TracingConfig::Exporter::zipkin);
    EXPECT_EQ(tracing.collector.to_string(), "[::1]:9411");
    EXPECT_EQ(tracing.path, "/api/v2/spans");
    EXPECT_EQ(tracing.propagation, model::TracingConfig::Propagation::b3);
    EXPECT_EQ(snapshot->mesh().fault_seed, 7u);
}

}  // namespace
}  // namespace orlop::control
