// memquota, quota and rule of tutorial 004 become quotas of the Snapshot.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "daemon/control/objects/mixer_expression.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace orlop::control {
namespace {

using Kind = model::LimitAttribute::Kind;

std::string tutorial() {
    std::ifstream file(ORLOP_SOURCE_DIR
                       "/deploy/lab/tutorials/004-mixer-rule-ratings-ratelimit.yaml");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

struct Built {
    ObjectStore store;
    CompileResult result;
    explicit Built(const std::string& text) {
        store.replace_source("a.yaml", decode_text(text, {.file = "a.yaml"}), 1);
        result = compile(store, {.node = "n1", .generation = 1});
    }
    std::string says() const {
        std::string out;
        for (const Findings& some : {store.findings(), result.findings}) {
            for (const Finding& finding : some) {
                out += finding.to_string() + "\n";
            }
        }
        return out;
    }
};

TEST(Quota, the_rule_of_the_tutorial_joins_its_three_objects) {
    Built built(tutorial());
    ASSERT_EQ(built.result.snapshot->quotas().size(), 1u) << built.says();
    const model::Quota& quota = *built.result.snapshot->quotas()[0];
    EXPECT_EQ(quota.name, "requestcount.quota.istio-system");
    EXPECT_EQ(quota.max_amount, 5000u);
    EXPECT_EQ(quota.valid_duration, std::chrono::seconds(1));
    EXPECT_TRUE(quota.conditions.empty());
    ASSERT_EQ(quota.overrides.size(), 2u);
    EXPECT_EQ(quota.overrides[0].max_amount, 1u);
    EXPECT_EQ(quota.overrides[0].dimensions.size(), 2u);
    EXPECT_EQ(quota.overrides[1].max_amount, 100u);
    ASSERT_EQ(quota.dimensions.size(), 4u);
    EXPECT_EQ(quota.dimensions[0].first, "destination");
    EXPECT_EQ(quota.dimensions[0].second[0],
              (model::LimitAttribute{Kind::destination_label, "app"}));
    EXPECT_EQ(quota.dimensions[0].second[1],
              (model::LimitAttribute{Kind::destination_service, ""}));
    EXPECT_EQ(quota.dimensions[0].second[2], (model::LimitAttribute{Kind::literal, "unknown"}));
    EXPECT_EQ(quota.source->to_string(), "rule istio-system/quota (a.yaml:48)");
    EXPECT_EQ(built.says(), "");
}

TEST(Quota, a_rule_outside_the_root_namespace_is_for_its_own_services) {
    std::string text = tutorial();
    for (std::size_t at = text.find("istio-system"); at != std::string::npos;
         at = text.find("istio-system", at)) {
        text.replace(at, 12, "shop");
    }
    Built built(text);
    ASSERT_EQ(built.result.snapshot->quotas().size(), 1u) << built.says();
    const model::Quota& quota = *built.result.snapshot->quotas()[0];
    ASSERT_EQ(quota.conditions.size(), 1u);
    EXPECT_EQ(quota.conditions[0].left[0].kind, Kind::destination_namespace);
    EXPECT_EQ(quota.conditions[0].value, "shop");
}

TEST(Quota, a_rule_whose_parts_are_missing_limits_nothing_and_says_so) {
    std::string text = tutorial();
    text = text.substr(text.rfind("---"));
    Built built(text);
    EXPECT_TRUE(built.result.snapshot->quotas().empty());
    EXPECT_NE(built.says().find("memquota istio-system/handler not found"), std::string::npos);
}

TEST(Quota, matches_are_comparisons_joined_by_and) {
    auto match = parse_mixer_match(
        R"(source.labels["app"] == "a" && (request.headers["X-User"] | "") != "b && c")");
    ASSERT_TRUE(match);
    ASSERT_EQ(match->size(), 2u);
    EXPECT_FALSE((*match)[0].negated);
    EXPECT_TRUE((*match)[1].negated);
    EXPECT_EQ((*match)[1].left[0], (model::LimitAttribute{Kind::header, "x-user"}));
    EXPECT_EQ((*match)[1].value, "b && c");
    EXPECT_TRUE(parse_mixer_match("")->empty());
    EXPECT_TRUE(parse_mixer_match("true")->empty());
}

TEST(Quota, what_is_not_understood_is_refused_by_name) {
    for (const char* text : {"source.labels[app] == \"a\"",
                             "context.protocol == \"tcp\"",
                             "source.service",
                             "source.service == source.namespace",
                             "a == \"b\" || c == \"d\"",
                             "!= \"x\"",
                             "&&"}) {
        EXPECT_FALSE(parse_mixer_match(text)) << text;
    }
    for (const char* text : {"", "|", "source", "\"a", "source.labels[\"\"]", "ip(\"10.0.0.1\")"}) {
        EXPECT_FALSE(parse_attribute_expression(text)) << text;
    }
}

}  // namespace
}  // namespace orlop::control
