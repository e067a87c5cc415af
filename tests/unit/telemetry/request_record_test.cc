#include "daemon/telemetry/request_id.h"
#include "daemon/telemetry/request_record.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace orlop::telemetry {
namespace {

TEST(ResponseFlags, are_joined_in_a_fixed_order) {
    ResponseFlags flags;
    EXPECT_EQ(flags.to_text().view(), "-");
    flags.add(ResponseFlag::FI);
    flags.add(ResponseFlag::DI);
    EXPECT_EQ(flags.to_text().view(), "DI,FI");
    EXPECT_TRUE(flags.has(ResponseFlag::DI));
    EXPECT_FALSE(flags.has(ResponseFlag::UT));
}

TEST(ResponseFlags, every_name_reads_back) {
    ResponseFlags all;
    for (std::size_t i = 0; i < response_flag_count; ++i) {
        const auto flag = static_cast<ResponseFlag>(i);
        EXPECT_EQ(parse_response_flag(response_flag_name(flag)), flag);
        EXPECT_TRUE(all.add_name(response_flag_name(flag)));
    }
    EXPECT_TRUE(all.to_text().view().ends_with(",CONNECT"));
    EXPECT_EQ(all.bits(), 0xFFFFFFFFu);
    EXPECT_TRUE(all.add_name(""));
    EXPECT_FALSE(all.add_name("uo"));
    EXPECT_EQ(response_flag_name(ResponseFlag::URX), "URX");
    EXPECT_EQ(response_flag_name(ResponseFlag::UDO), "UDO");
    EXPECT_EQ(response_flag_name(ResponseFlag::NC), "NC");
}

TEST(RequestRecord, keeps_copies_and_cuts_them_at_the_bound) {
    RequestRecord record;
    std::string text = "/a/path";
    record.path = record.keep(text);
    text = "changed";
    EXPECT_EQ(record.path, "/a/path");
    EXPECT_EQ(record.keep("abcdef", 3), "abc");
    EXPECT_EQ(record.keep(std::string(5000, 'x'), 5000).size(), RequestRecord::arena_bytes - 10);
    EXPECT_EQ(record.keep("no room"), "");
}

TEST(RequestRecord, reset_forgets_everything) {
    RequestRecord record;
    record.path = record.keep(std::string(2000, 'p'), 2000);
    record.status = 503;
    record.flags.add(ResponseFlag::UH);
    record.cluster = "c";
    record.upstream_host = SocketAddress{};
    record.open_try()->status = 500;
    record.reset();
    EXPECT_EQ(record.path, "");
    EXPECT_EQ(record.status, 0);
    EXPECT_TRUE(record.flags.empty());
    EXPECT_EQ(record.cluster, "");
    EXPECT_FALSE(record.upstream_host);
    EXPECT_EQ(record.tries, 0u);
    EXPECT_EQ(record.try_list[0].status, 0);
    EXPECT_EQ(record.keep("fresh"), "fresh");
}

TEST(RequestRecord, counts_tries_beyond_the_list) {
    RequestRecord record;
    for (std::uint16_t i = 1; i <= 11; ++i) {
        record.open_try()->status = i;
    }
    EXPECT_EQ(record.tries, 11u);
    EXPECT_EQ(record.tries_listed(), RequestRecord::tries_listed_max);
    EXPECT_EQ(record.try_list[0].status, 1);
    EXPECT_EQ(record.try_list[RequestRecord::tries_listed_max - 1].status, 11);
}

TEST(RequestId, is_a_version_4_uuid_and_does_not_repeat) {
    FastRandom random = FastRandom::seeded_by_kernel();
    std::set<std::string> seen;
    for (int i = 0; i < 10'000; ++i) {
        const RequestId id = make_request_id(random);
        const std::string_view text = id.view();
        ASSERT_EQ(text.size(), 36u);
        EXPECT_EQ(text[14], '4');
        EXPECT_NE(std::string_view("89ab").find(text[19]), std::string_view::npos);
        for (const std::size_t dash : {8u, 13u, 18u, 23u}) {
            EXPECT_EQ(text[dash], '-');
        }
        EXPECT_TRUE(seen.emplace(text).second);
    }
}

TEST(FastRandom, same_seed_same_numbers) {
    FastRandom one(9);
    FastRandom two(9);
    FastRandom other(10);
    EXPECT_EQ(one.next(), FastRandom::next_of(&two));
    EXPECT_NE(one.next(), other.next());
}

}  // namespace
}  // namespace orlop::telemetry
