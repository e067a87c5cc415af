#include "daemon/datapath/journal.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace orlop::datapath {

TEST(Journal, reads_back_what_it_wrote) {
    std::vector<JournalPod> pods{{.uid = "default/web-1",
                                  .netns_path = "/run/netns/a b",
                                  .slot = 1,
                                  .netns_cookie = 7,
                                  .state = PodState::enrolled,
                                  .mark_sysctls_before = 0},
                                 {.uid = "x",
                                  .netns_path = "/proc/12/ns/net",
                                  .slot = 4096,
                                  .netns_cookie = ~0ull,
                                  .state = PodState::draining,
                                  .mark_sysctls_before = std::nullopt}};
    auto read = parse_journal(format_journal("boot-1", pods), "boot-1");
    ASSERT_TRUE(read.has_value()) << read.error().context;
    EXPECT_EQ(*read, pods);
}

TEST(Journal, of_another_boot_is_empty) {
    std::vector<JournalPod> pods{{.uid = "x",
                                  .netns_path = "/a",
                                  .slot = 1,
                                  .netns_cookie = 7,
                                  .state = PodState::enrolled,
                                  .mark_sysctls_before = 0}};
    auto read = parse_journal(format_journal("boot-1", pods), "boot-2");
    ASSERT_TRUE(read.has_value());
    EXPECT_TRUE(read->empty());
}

TEST(Journal, refuses_what_breaks_its_grammar) {
    const std::string head = "orlop-datapath\t1\tb\n";
    const std::string line = "pod\t1\tenrolled\t7\t0\tx\t/a\n";
    ASSERT_TRUE(parse_journal(head + line, "b").has_value());
    for (const std::string& bad : {std::string("garbage"),
                                   std::string("orlop-datapath\t2\tb\n"),
                                   head + "pod\t0\tenrolled\t7\t0\tx\t/a\n",
                                   head + "pod\t4097\tenrolled\t7\t0\tx\t/a\n",
                                   head + "pod\t1\tasleep\t7\t0\tx\t/a\n",
                                   head + "pod\t1\tenrolled\t-7\t0\tx\t/a\n",
                                   head + "pod\t1\tenrolled\t7\t8\tx\t/a\n",
                                   head + "pod\t1\tenrolled\t7\t0\t\t/a\n",
                                   head + "pod\t1\tenrolled\t7\t0\tx\ta\n",
                                   head + "pod\t1\tenrolled\t7\t0\tx\n",
                                   std::string("orlop-datapath\t1\tb"),
                                   head + line + line}) {
        EXPECT_FALSE(parse_journal(bad, "b").has_value()) << bad;
    }
}

TEST(Journal, drops_a_line_that_its_writer_did_not_finish) {
    const std::string whole = "orlop-datapath\t1\tb\npod\t1\tenrolled\t7\t0\tx\t/a\n";
    for (std::string_view begun : {"p", "pod\t2\tprepared\t8\t0\ty\t/b"}) {
        auto read = parse_journal(whole + std::string(begun), "b");
        ASSERT_TRUE(read.has_value()) << read.error().context;
        ASSERT_EQ(read->size(), 1u);
        EXPECT_EQ(read->front().uid, "x");
    }
}

TEST(Journal, one_more_pod_is_appended) {
    std::string path = ::testing::TempDir() + "appended.journal";
    JournalPod first{.uid = "x", .netns_path = "/a", .slot = 1, .netns_cookie = 7};
    JournalPod second{.uid = "y", .netns_path = "/b", .slot = 2, .netns_cookie = 8};
    second.mark_sysctls_before = 5;
    ASSERT_FALSE(append_journal(path, second)) << "no journal to append to";
    ASSERT_TRUE(write_journal(path, {first}));
    ASSERT_TRUE(append_journal(path, second));
    auto read = read_journal(path);
    ASSERT_TRUE(read.has_value()) << read.error().context;
    EXPECT_EQ(*read, (std::vector<JournalPod>{first, second}));
    ::unlink(path.c_str());
}

}  // namespace orlop::datapath
