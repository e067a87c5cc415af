#include "daemon/decide/cors.h"

#include <gtest/gtest.h>

namespace orlop::decide {
namespace {

model::CorsPolicy a_policy() {
    model::CorsPolicy policy;
    policy.allow_origins.push_back(
        {.kind = model::StringMatch::Kind::exact, .text = "https://a.example"});
    policy.allow_origins.push_back(
        {.kind = model::StringMatch::Kind::prefix, .text = "https://b."});
    policy.allow_methods = "GET,PUT";
    policy.allow_headers = "x-token";
    policy.expose_headers = "x-count";
    policy.max_age = "86400";
    policy.allow_credentials = true;
    return policy;
}

TEST(Cors, judges_by_origin_and_kind_of_request) {
    struct Row {
        CorsRequest request;
        CorsVerdict verdict;
        CorsVerdict ignoring;  // with unmatchedPreflights: IGNORE
    };
    const Row rows[] = {
        {{"GET", "", ""}, CorsVerdict::none, CorsVerdict::none},
        {{"GET", "https://a.example", ""}, CorsVerdict::actual, CorsVerdict::actual},
        {{"GET", "https://A.example", ""}, CorsVerdict::none, CorsVerdict::none},
        {{"GET", "https://b.anything", ""}, CorsVerdict::actual, CorsVerdict::actual},
        {{"OPTIONS", "https://a.example", "PUT"}, CorsVerdict::preflight, CorsVerdict::preflight},
        {{"OPTIONS", "https://a.example", ""}, CorsVerdict::actual, CorsVerdict::actual},
        {{"POST", "https://a.example", "PUT"}, CorsVerdict::actual, CorsVerdict::actual},
        {{"OPTIONS", "https://evil", "PUT"}, CorsVerdict::none, CorsVerdict::preflight_off},
        {{"OPTIONS", "https://evil", ""}, CorsVerdict::none, CorsVerdict::none},
    };
    model::CorsPolicy policy = a_policy();
    for (const Row& row : rows) {
        policy.ignore_unmatched_preflights = false;
        EXPECT_EQ(decide_cors(policy, row.request), row.verdict) << row.request.origin;
        policy.ignore_unmatched_preflights = true;
        EXPECT_EQ(decide_cors(policy, row.request), row.ignoring) << row.request.origin;
    }
}

TEST(Cors, takes_a_star_as_any_origin) {
    model::CorsPolicy policy;
    policy.allow_origins.push_back({.kind = model::StringMatch::Kind::exact, .text = "*"});
    EXPECT_EQ(decide_cors(policy, {"GET", "https://x", ""}), CorsVerdict::actual);
}

std::string text(const CorsFields& fields) {
    std::string out;
    for (std::size_t i = 0; i < fields.count; ++i) {
        out += std::string(fields.list[i].name) + ": " + std::string(fields.list[i].value) + "\n";
    }
    return out;
}

TEST(Cors, answers_with_the_policy_and_the_origin_as_sent) {
    model::CorsPolicy policy = a_policy();
    EXPECT_EQ(text(preflight_fields(policy, "https://a.example")),
              "access-control-allow-origin: https://a.example\n"
              "access-control-allow-credentials: true\n"
              "access-control-allow-methods: GET,PUT\n"
              "access-control-allow-headers: x-token\n"
              "access-control-max-age: 86400\n");
    EXPECT_EQ(text(actual_fields(policy, "https://a.example")),
              "access-control-allow-origin: https://a.example\n"
              "access-control-allow-credentials: true\n"
              "access-control-expose-headers: x-count\n");
    policy.allow_credentials = false;
    policy.expose_headers.clear();
    EXPECT_EQ(text(actual_fields(policy, "o")), "access-control-allow-origin: o\n");
}

}  // namespace
}  // namespace orlop::decide
