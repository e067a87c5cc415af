#include "daemon/base/identity.h"

#include <gtest/gtest.h>

namespace orlop {
namespace {

TEST(SpiffeId, round_trips_the_istio_form) {
    auto id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/front.end");
    ASSERT_TRUE(id);
    EXPECT_EQ(id->ns, "shop");
    EXPECT_EQ(id->to_string(), "spiffe://cluster.local/ns/shop/sa/front.end");
}

TEST(SpiffeId, refuses_everything_else) {
    using namespace std::string_view_literals;
    for (auto text : {""sv,
                      "spiffe://"sv,
                      "http://td/ns/a/sa/b"sv,
                      "spiffe://td/ns/a/sa/"sv,
                      "spiffe://td/ns//sa/b"sv,
                      "spiffe://td/ns/a/sa/b/c"sv,
                      "spiffe://td/sa/b/ns/a"sv,
                      "spiffe://TD/ns/a/sa/b"sv,
                      "spiffe://td:1/ns/a/sa/b"sv,
                      "spiffe://td/ns/a/sa/b?x"sv,
                      "spiffe://td/ns/a/sa/b#x"sv,
                      "spiffe://td/ns/a%41/sa/b"sv,
                      "spiffe://td/ns/a/sa/b\0"sv,
                      "spiffe://td/ns/a.b/sa/c"sv,
                      "spiffe://u@td/ns/a/sa/b"sv}) {
        EXPECT_FALSE(SpiffeId::parse(text)) << text;
    }
}

}  // namespace
}  // namespace orlop
