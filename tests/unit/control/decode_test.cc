#include "daemon/base/limits.h"
#include "daemon/control/decode.h"

#include <gtest/gtest.h>

namespace orlop::control {
namespace {

std::string vs(const std::string& http, const std::string& rest = "") {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n"
           "  hosts: [a]\n" +
           rest + "  http:\n  - route: [{destination: {host: a}}]\n" + http;
}
std::string vs_spec(const std::string& spec) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: "
           "a}\nspec:\n" +
           spec;
}
std::string dr(const std::string& spec) {
    return "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {name: a}\n"
           "spec:\n  host: a\n" +
           spec;
}
std::string pa(const std::string& spec) {
    return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\n"
           "spec:\n" +
           spec;
}
std::string mesh(const std::string& spec) {
    return "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: a}\nspec:\n" + spec;
}

struct Refused {
    std::string text;
    std::string path;
    int line;
    std::string says;  // part of the message
};

const Refused refusals[] = {
    {vs("    timeout: 0s\n"), "spec.http[0].timeout", 8, "greater than 1ms"},
    {vs("    timeout: 5\n"), "spec.http[0].timeout", 8, "invalid duration"},
    {vs("    timeout: 1.5\n"), "spec.http[0].timeout", 8, "invalid duration"},
    {vs("    timeout: 10us\n"), "spec.http[0].timeout", 8, "greater than 1ms"},
    {vs("    timeout: 1.0005s\n"), "spec.http[0].timeout", 8, "ms precision"},
    {vs("    timeout: -1s\n"), "spec.http[0].timeout", 8, "greater than 1ms"},
    {vs("    timeout: forever\n"), "spec.http[0].timeout", 8, "invalid duration"},
    {vs("    timeout: 9999999h\n"), "spec.http[0].timeout", 8, "invalid duration"},
    {vs("    timeout: [1s]\n"), "spec.http[0].timeout", 8, "invalid duration"},
    {vs("    retries: 3\n"), "spec.http[0].retries", 8, "want a map"},
    {vs("    retries: {attempts: -1}\n"), "spec.http[0].retries.attempts", 8, "non-negative"},
    {vs("    retries: {attempts: 101}\n"), "spec.http[0].retries.attempts", 8, "range"},
    {vs("    retries: {attempts: '3'}\n"), "spec.http[0].retries.attempts", 8, "whole number"},
    {vs("    retries: {perTryTimeout: 1s}\n"), "spec.http[0].retries", 8, "set to 0"},
    {vs("    retries: {attempts: 0, retryOn: 5xx}\n"), "spec.http[0].retries", 8, "set to 0"},
    {vs("    retries: {attempts: 1, retryOn: '503, reset'}\n"),
     "spec.http[0].retries.retryOn",
     8,
     "not a valid retryOn"},
    {vs("    retries: {attempts: 1, retryOn: 6xx}\n"),
     "spec.http[0].retries.retryOn",
     8,
     "not a valid retryOn"},
    {vs("    retries: {attempts: 1, retryOn: 599,}\n"),
     "spec.http[0].retries.retryOn",
     8,
     "want text"},
    {vs("    retries: {attempts: 1, retryOn: '599'}\n"),
     "spec.http[0].retries.retryOn",
     8,
     "not a valid retryOn"},
    {vs("    retries: {attempts: 1, retryRemoteLocalities: yes}\n"),
     "spec.http[0].retries.retryRemoteLocalities",
     8,
     "want true or false"},
    {vs("    fault: {}\n"), "spec.http[0].fault", 8, "abort and/or a delay"},
    {vs("    fault: {delay: {percentage: {value: 101}, fixedDelay: 1s}}\n"),
     "spec.http[0].fault.delay.percentage.value",
     8,
     "neither 0.0"},
    {vs("    fault: {delay: {percentage: {value: 0.00001}, fixedDelay: 1s}}\n"),
     "spec.http[0].fault.delay.percentage.value",
     8,
     "neither 0.0"},
    {vs("    fault: {delay: {exponentialDelay: 1s}}\n"),
     "spec.http[0].fault.delay.exponentialDelay",
     8,
     "not supported"},
    {vs("    fault: {abort: {httpStatus: 99}}\n"),
     "spec.http[0].fault.abort.httpStatus",
     8,
     "range"},
    {vs("    fault: {abort: {grpcStatus: unavailable}}\n"),
     "spec.http[0].fault.abort.grpcStatus",
     8,
     "not supported"},
    {vs("    fault: {abort: {http2Error: X}}\n"),
     "spec.http[0].fault.abort.http2Error",
     8,
     "not supported"},
    {vs("    redirect: {uri: /b}\n"), "spec.http[0].redirect", 8, "both redirect and route"},
    {vs("    directResponse: {status: 200}\n"),
     "spec.http[0].directResponse",
     8,
     "both directResponse and route"},
    {vs("    rewrite: {}\n"), "spec.http[0].rewrite", 8, "must specify"},
    {vs("    mirror_percent: 101\n"), "spec.http[0].mirror_percent", 8, "range"},
    {vs("    match: [{uri: {exact: /a, prefix: /b}}]\n"),
     "spec.http[0].match[0].uri",
     8,
     "exclude each other"},
    {vs("    match: [{uri: {regex: '('}}]\n"), "spec.http[0].match[0].uri.regex", 8, ""},
    {vs("    match: [{uri: {regex: ''}}]\n"), "spec.http[0].match[0].uri.regex", 8, "empty"},
    {vs("    match: [{uri: {regex: '" + std::string(1025, 'a') + "'}}]\n"),
     "spec.http[0].match[0].uri.regex",
     8,
     ""},
    {vs("    match: [{method: {prefix: ''}}]\n"), "spec.http[0].match[0].method", 8, "empty"},
    {vs("    match: [{headers: {x: null}}]\n"),
     "spec.http[0].match[0].headers[x]",
     8,
     "cannot be null"},
    {vs("    match: [{port: 0}]\n"), "spec.http[0].match[0].port", 8, "range"},
    {vs("    match: [null]\n"), "spec.http[0].match[0]", 8, "cannot be null"},
    {vs("    headers: {request: {set: {':path': /x}}}\n"),
     "spec.http[0].headers.request.set[:path]",
     8,
     "header name"},
    {vs("    headers: {response: {set: {host: x}}}\n"),
     "spec.http[0].headers.response.set[host]",
     8,
     "header name"},
    {vs("    corsPolicy: {maxAge: 1.5s}\n"), "spec.http[0].corsPolicy.maxAge", 8, "seconds"},
    {vs("    delegate: {name: b}\n"), "spec.http[0].delegate", 8, "of its own"},
    {vs("", "  exportTo: ['~']\n"), "spec.exportTo", 6, "ServiceEntry"},
    {vs("", "  exportTo: ['*', b]\n"), "spec.exportTo", 6, "alone"},
    {vs_spec("  hosts: ['*']\n  http: [{route: [{destination: {host: a}}]}]\n"),
     "spec.hosts",
     5,
     "wildcard host"},
    {vs_spec("  hosts: [a, A]\n  http: [{route: [{destination: {host: a}}]}]\n"),
     "spec.hosts",
     5,
     "duplicate host"},
    {vs_spec("  hosts: [a_b]\n  http: [{route: [{destination: {host: a}}]}]\n"),
     "spec.hosts",
     5,
     "no host name"},
    {vs_spec("  hosts: [a]\n"), "spec", 5, "must be provided"},
    {vs_spec("  hosts: [a]\n  http: [{}]\n"), "spec.http[0]", 6, "is required"},
    {vs_spec("  hosts: [a]\n  http: [{route: [{weight: 1}]}]\n"),
     "spec.http[0].route[0]",
     6,
     "destination is missing"},
    {vs_spec("  hosts: [a]\n  http:\n  - route:\n    - {destination: {host: a}, weight: -1}\n"),
     "spec.http[0].route[0].weight",
     8,
     "< 0"},
    {vs_spec("  hosts: [a]\n  http:\n  - route: [{destination: {host: a}}, "
             "{destination: {host: b}}]\n"),
     "spec.http[0].route",
     7,
     "total destination weight = 0"},
    {vs_spec("  hosts: [a]\n  http: [{route: [{destination: {host: a, port: {number: "
             "70000}}}]}]\n"),
     "spec.http[0].route[0].destination.port.number",
     6,
     "range"},
    {vs_spec("  hosts: [a]\n  http: [{route: [{destination: {host: a, subset: V_1}}]}]\n"),
     "spec.http[0].route[0].destination.subset",
     6,
     "invalid"},
    {vs_spec("  hosts: [a.b]\n  tls: [{route: [{destination: {host: a}}]}]\n"),
     "spec.tls[0]",
     6,
     "at least one match"},
    {vs_spec("  hosts: [a.b]\n  tls: [{match: [{sniHosts: [c.d]}], route: [{destination: "
             "{host: a}}]}]\n"),
     "spec.tls[0].match[0].sniHosts",
     6,
     "not within"},
    {vs_spec("  gateways: [g]\n  http: [{route: [{destination: {host: a}}]}]\n"),
     "spec.gateways",
     5,
     "no gateways"},
    {dr("  trafficPolicy: {}\n"), "spec.trafficPolicy", 6, "at least one field"},
    {dr("  trafficPolicy: {connectionPool: {}}\n"),
     "spec.trafficPolicy.connectionPool",
     6,
     "at least one field"},
    {dr("  trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}\n"),
     "spec.trafficPolicy.connectionPool.tcp.maxConnections",
     6,
     "non-negative"},
    {dr("  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}\n"),
     "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
     6,
     "greater than 1ms"},
    {dr("  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, "
        "useClientProtocol: true}}}\n"),
     "spec.trafficPolicy.connectionPool.http.useClientProtocol",
     6,
     "must not be true"},
    {dr("  trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}\n"),
     "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
     6,
     "range"},
    {dr("  trafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 3}}\n"),
     "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
     6,
     "set to false"},
    {dr("  trafficPolicy: {loadBalancer: {simple: FASTEST}}\n"),
     "spec.trafficPolicy.loadBalancer.simple",
     6,
     "FASTEST"},
    {dr("  trafficPolicy: {loadBalancer: {consistentHash: {}}}\n"),
     "spec.trafficPolicy.loadBalancer.consistentHash",
     6,
     "needs a key"},
    {dr("  trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, "
        "httpHeaderName: x}}}\n"),
     "spec.trafficPolicy.loadBalancer.consistentHash",
     6,
     "exactly one"},
    {dr("  trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}}\n"),
     "spec.trafficPolicy.loadBalancer.consistentHash.maglev",
     6,
     "must be set"},
    {dr("  trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: "
        "{tableSize: 4}}}}\n"),
     "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
     6,
     "prime"},
    {dr("  trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {ttl: 1s}}}}\n"),
     "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie",
     6,
     "name required"},
    {dr("  trafficPolicy: {loadBalancer: {simple: RANDOM, warmupDurationSecs: 5s}}\n"),
     "spec.trafficPolicy.loadBalancer",
     6,
     "warm-up"},
    {dr("  trafficPolicy: {loadBalancer: {warmup: {aggression: 2}}}\n"),
     "spec.trafficPolicy.loadBalancer.warmup",
     6,
     "duration is required"},
    {dr("  trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: "
        "{eu/a: 80}}]}}}\n"),
     "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
     6,
     "total locality weight 80 != 100"},
    {dr("  trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: "
        "{eu/a: 101}}]}}}\n"),
     "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to[eu/a]",
     6,
     "1..100"},
    {dr("  trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: eu, to: "
        "eu}]}}}\n"),
     "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0]",
     6,
     "different regions"},
    {dr("  trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [700]}}\n"),
     "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[0]",
     6,
     "100..599"},
    {dr("  trafficPolicy: {tls: {mode: MUTUAL}}\n"), "spec.trafficPolicy.tls", 6, "required"},
    {dr("  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: x}}\n"),
     "spec.trafficPolicy.tls",
     6,
     "must be empty"},
    {dr("  subsets: [{labels: {a: b}}]\n"), "spec.subsets[0].name", 6, "must have a name"},
    {dr("  subsets: [{name: v1}, {name: v1}]\n"), "spec.subsets[1].name", 6, "duplicate"},
    {dr("  subsets: [{name: v1, labels: {version: 1}}]\n"),
     "spec.subsets[0].labels[version]",
     6,
     "want text"},
    {pa("  mtls: {mode: STRICTLY}\n"), "spec.mtls.mode", 5, "STRICTLY"},
    {pa("  portLevelMtls: {80: {mode: STRICT}}\n"),
     "spec.portLevelMtls",
     5,
     "cannot have port level"},
    {pa("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {0: {mode: STRICT}}\n"),
     "spec.portLevelMtls[0]",
     6,
     "1..65535"},
    {mesh("  http10: yes\n"), "spec.http10", 5, "want true or false"},
    {mesh("  http10: on\n"), "spec.http10", 5, "want true or false"},
    {mesh("  http10: 'true'\n"), "spec.http10", 5, "want true or false"},
    {mesh("  conflictResolution: newest\n"), "spec.conflictResolution", 5, "newest"},
    {mesh("  dataplaneMode: none\n"), "spec.dataplaneMode", 5, "opts out"},
    {mesh("  exclusions: {outboundRanges: [10.0.0.0/33]}\n"),
     "spec.exclusions.outboundRanges",
     5,
     "no address range"},
    {"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n"
     "spec: {action: CUSTOM}\n",
     "spec.action",
     4,
     "external authorizer"},
    {"apiVersion: orlop.dev/v1\nkind: PodSandbox\nmetadata: {name: a, uid: u}\n"
     "spec: {netns: /run/x, cgroup: /sys/x}\n",
     "kind",
     1,
     "sandbox directory"},
    {"apiVersion: v1\nkind: Servise\nmetadata: {name: a}\n", "kind", 1, "unknown kind"},
    {"apiVersion: v2\nkind: Service\nmetadata: {name: a}\n", "apiVersion", 1, "no version"},
    {"apiVersion: v1\nkind: VirtualService\nmetadata: {name: a}\n", "apiVersion", 1, "is unknown"},
    {"apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\n", "metadata.name", 1, "DNS-1123"},
    {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 99999}]\n",
     "spec.ports[0].port",
     5,
     "range"},
    {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0}\n",
     "spec.clusterIP",
     4,
     "no IP address"},
    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: yes}\n",
     "spec.hostNetwork",
     4,
     "want true or false"},
    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: x}\n",
     "status.podIP",
     4,
     "no IP address"},
};

TEST(Decode, refuses_with_path_line_and_reason) {
    for (const Refused& row : refusals) {
        auto decoded = decode_text(row.text, {.file = "f.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << row.text;
        const DecodedObject& object = decoded.objects[0];
        EXPECT_EQ(object.object, nullptr) << row.text;
        bool found = false;
        std::string all;
        for (const Finding& finding : object.findings) {
            found = found || (finding.severity == Severity::error && finding.path == row.path &&
                              finding.line == row.line &&
                              finding.message.find(row.says) != std::string::npos);
            all += finding.to_string() + "\n";
        }
        EXPECT_TRUE(found) << row.text << "want " << row.path << ":" << row.line << " " << row.says
                           << "\ngot\n"
                           << all;
    }
}

const std::string acceptances[] = {
    vs("    timeout: 0.5s\n"),
    vs("    timeout: 7.000s\n"),
    vs("    timeout: 1h30m\n"),
    vs("    timeout: null\n"),
    vs("    timeout: 1800s\n"),
    vs("    timeout: 5ms\n"),
    vs("    retries: {attempts: 0}\n"),
    vs("    retries: {}\n"),
    vs("    retries: {attempts: 3, perTryTimeout: 3s, retryOn: "
       "'5xx,gateway-error,reset,connect-failure,refused-stream,retriable-4xx'}\n"),
    vs("    retries: {attempts: 3, retryOn: '503,reset'}\n"),
    vs("    mirror: {host: a, subset: v1}\n    mirror_percent: 100.0\n"),
    vs("    mirrors: [{destination: {host: a}, percentage: {value: 50}}]\n"),
    vs("    fault: {delay: {percentage: {value: 100.0}, fixedDelay: 10s}}\n"),
    vs("    fault: {abort: {percentage: {value: 5}, grpcStatus: UNAVAILABLE}}\n"),
    vs("    match: [{headers: {end-user: {exact: tester}, x: {}}}]\n"),
    vs("    match: [{queryParams: {test-v2: {exact: 'true'}}}]\n"),
    vs("    match: [{uri: {regex: '^/productpage/v2'}, ignoreUriCase: true}]\n"),
    vs("    rewrite: {uriRegexRewrite: {match: '/a/(.*)', rewrite: '/b/\\1'}}\n"),
    vs("    corsPolicy: {allowOrigins: [{exact: 'http://a'}], maxAge: 24h}\n"),
    vs("    headers: {request: {set: {x: y}, remove: [z]}}\n"),
    vs_spec("  hosts: [a]\n  gateways: [g, mesh]\n  http: [{route: [{destination: {host: "
            "a}}]}]\n"),
    vs_spec("  hosts: ['*.example.com']\n  http: [{redirect: {uri: /b, redirectCode: 302}}]\n"),
    vs_spec("  hosts: [a]\n  http: [{directResponse: {status: 503, body: {string: x}}}]\n"),
    vs_spec("  hosts: ['*']\n  gateways: [g]\n  http: [{route: [{destination: {host: a}}]}]\n"),
    vs_spec("  http: [{route: [{destination: {host: a}}]}]\n"),
    vs_spec("  hosts: [a]\n  tcp: [{match: [{port: 5}], route: [{destination: {host: a}}]}]\n"),
    dr(""),
    dr("  trafficPolicy: {tls: {}}\n"),
    dr("  trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}\n"),
    dr("  trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: "
       "1800s}}}}\n"),
    dr("  trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: u, ttl: 0s}}}}\n"),
    dr("  trafficPolicy: {outlierDetection: {consecutiveErrors: 1, interval: 1s, "
       "baseEjectionTime: 3m}}\n"),
    dr("  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}, tcp: {maxConnections: "
       "2, connectTimeout: 30ms, idleTimeout: 0s, tcpKeepalive: {time: 7200s}}}}\n"),
    dr("  trafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: "
       "RANDOM}}]}\n"),
    pa("  mtls: {mode: STRICT}\n"),
    pa("  {}\n"),
    pa("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {80: {mode: DISABLE}}\n"),
    mesh("  {accessLog: json, revisions: [asm-1-22], conflictResolution: oldest}\n"),
    "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}}",
    "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n"
    "  servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}]\n",
    "apiVersion: config.istio.io/v1alpha2\nkind: RouteRule\nmetadata: {name: r}\n"
    "spec: {destination: {name: a}}\n",
};

TEST(Decode, accepts_what_istio_accepts) {
    for (const std::string& text : acceptances) {
        auto decoded = decode_text(text, {.file = "f.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << text;
        std::string all;
        for (const Finding& finding : decoded.objects[0].findings) {
            all += finding.to_string() + "\n";
        }
        EXPECT_NE(decoded.objects[0].object, nullptr) << text << all;
    }
}

TEST(Decode, reports_an_unknown_field_with_the_nearest_name) {
    auto decoded = decode_text(vs("    timeouts: 1s\n"), {.file = "f.yaml"});
    ASSERT_EQ(decoded.objects[0].findings.size(), 1u);
    EXPECT_NE(decoded.objects[0].object, nullptr);
    EXPECT_EQ(decoded.objects[0].findings[0].to_string(),
              "f.yaml:8: warning: VirtualService default/a spec.http[0].timeouts: unknown field, "
              "ignored; did you mean \"timeout\"? [ORL002]");
}

TEST(Decode, ignores_kinds_of_no_use_and_takes_lists_apart) {
    auto decoded = decode_text(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: "
        "{name: d}}\n- {apiVersion: v1, kind: Namespace, metadata: {name: n}}\n",
        {});
    ASSERT_EQ(decoded.objects.size(), 2u);
    EXPECT_TRUE(decoded.objects[0].ignored);
    EXPECT_NE(decoded.objects[1].object, nullptr);
}

TEST(Yaml, refuses_what_would_have_to_be_guessed) {
    const std::pair<std::string, std::string> table[] = {
        {"a: 1\na: 2\n", "twice"},
        {"a: {b: 1, \"b\": 2}", "twice"},
        {"<<: {a: 1}\n", "merge keys"},
        {"? [a]\n: b\n", "must be text"},
        {"a: !!python/object x\n", "unknown tag"},
        {"a: [1\n", ""},
        {"a: *b\n", ""},
        {"a: \"\x01\"\n", "control character"},
        {"a: \xff\n", "UTF-8"},
        {"a: &x [*x]\n", "alias"},
    };
    for (const auto& [text, says] : table) {
        auto parsed = parse_yaml(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_NE(parsed.error().error.context.find(says), std::string::npos)
            << text << parsed.error().error.context;
    }
}

TEST(Yaml, bounds_size_depth_and_aliases) {
    auto kind_of = [](const std::string& text) {
        auto parsed = parse_yaml(text);
        return parsed ? ErrorKind::internal : parsed.error().error.kind;
    };
    EXPECT_EQ(kind_of(std::string(limits::yaml_file_bytes_max + 1, ' ')),
              ErrorKind::limit_exceeded);
    EXPECT_EQ(kind_of(std::string(100, '[')), ErrorKind::limit_exceeded);
    EXPECT_EQ(kind_of(std::string(1'000'000, '[')), ErrorKind::limit_exceeded);
    std::string blocks;
    for (int i = 0; i < 100; ++i) {
        blocks += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    }
    EXPECT_EQ(kind_of(blocks), ErrorKind::limit_exceeded);
    std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 10; ++i) {
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int j = 0; j < 10; ++j) {
            bomb += std::string(j == 0 ? "" : ",") + "*a" + std::to_string(i - 1);
        }
        bomb += "]\n";
    }
    EXPECT_EQ(kind_of(bomb), ErrorKind::limit_exceeded);
    EXPECT_EQ(kind_of("a: &x [1, 2]\nb: *x\n"), ErrorKind::internal);
}

TEST(Yaml, survives_a_round_trip) {
    std::string text = "a: \"yes\"\nb:\n- x: 1\n  y: [true, \"true\"]\n- {}\n- []\nc: null\n";
    auto once = parse_yaml(text);
    ASSERT_TRUE(once);
    std::string yaml = to_yaml(once->at(0));
    auto twice = parse_yaml(yaml);
    ASSERT_TRUE(twice) << yaml;
    EXPECT_EQ(to_json(once->at(0)), to_json(twice->at(0))) << yaml;
    EXPECT_EQ(to_json(once->at(0)),
              R"({"a":"yes","b":[{"x":1,"y":[true,"true"]},{},[]],"c":null})");
}

}  // namespace
}  // namespace orlop::control
