#include "daemon/admin/line_ring.h"

#include <gtest/gtest.h>

namespace orlop::admin {
namespace {

LineRing::Line line(int at, const char* source, const char* destination, std::string text) {
    return {WallTime(std::chrono::seconds(at)),
            *IpAddress::parse(source),
            *IpAddress::parse(destination),
            std::move(text)};
}

TEST(LineRing, finds_lines_by_either_end) {
    LineRing ring;
    ring.add(line(1, "10.0.0.1", "10.0.0.2", "a"));
    ring.add(line(2, "10.0.0.3", "10.0.0.1", "b"));
    ring.add(line(3, "10.0.0.3", "10.0.0.4", "c"));
    auto found = ring.find({*IpAddress::parse("10.0.0.1")}, WallTime{});
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].text, "a");
    EXPECT_EQ(found[1].text, "b");
}

TEST(LineRing, gives_only_what_is_newer) {
    LineRing ring;
    ring.add(line(1, "10.0.0.1", "10.0.0.2", "old"));
    ring.add(line(2, "10.0.0.1", "10.0.0.2", "new"));
    auto found = ring.find({*IpAddress::parse("10.0.0.1")}, WallTime(std::chrono::seconds(1)));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].text, "new");
}

TEST(LineRing, forgets_the_oldest_at_its_bounds) {
    LineRing ring({.lines_max = 3, .bytes_max = 10});
    for (int i = 0; i < 100; ++i) {
        ring.add(line(i, "10.0.0.1", "10.0.0.2", std::to_string(i)));
    }
    EXPECT_EQ(ring.size(), 3u);
    ring.add(line(100, "10.0.0.1", "10.0.0.2", "1234567890"));
    EXPECT_EQ(ring.size(), 1u);
    ring.add(line(101, "10.0.0.1", "10.0.0.2", "larger than all of it"));
    EXPECT_EQ(ring.size(), 1u);
}

}  // namespace
}  // namespace orlop::admin
