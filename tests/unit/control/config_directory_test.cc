#include "daemon/control/config_directory.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <poll.h>

namespace orlop::control {
namespace {

namespace fs = std::filesystem;

class ConfigDirectoryTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "orlop-config-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        path_ = pattern;
    }
    void TearDown() override { fs::remove_all(path_); }

    void write(const std::string& name, const std::string& text) {
        std::ofstream(path_ / (name + ".new")) << text;
        fs::rename(path_ / (name + ".new"), path_ / name);
    }
    static std::string ns(const std::string& name) {
        return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n---\n";
    }
    ConfigDirectory open() {
        auto directory = ConfigDirectory::open({.path = path_.string()});
        EXPECT_TRUE(directory);
        return *std::move(directory);
    }
    static bool readable(const ConfigDirectory& directory) {
        pollfd waited{directory.watch_fd(), POLLIN, 0};
        return ::poll(&waited, 1, 0) == 1;
    }

    fs::path path_;
    ObjectStore store_;
};

TEST_F(ConfigDirectoryTest, reads_again_only_what_changed) {
    write("a.yaml", ns("a"));
    write("b.json", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}})");
    write(".hidden.yaml", ns("hidden"));
    write("c.yaml~", ns("backup"));
    write("notes.txt", "no yaml");
    auto directory = open();
    auto first = directory.scan(store_);
    EXPECT_TRUE(first.changed);
    EXPECT_EQ(first.files_read, 2u);
    EXPECT_EQ(directory.scan(store_).files_read, 0u);
    write("a.yaml", ns("a") + ns("a2"));
    EXPECT_TRUE(readable(directory));
    directory.drain_events();
    EXPECT_FALSE(readable(directory));
    auto second = directory.scan(store_);
    EXPECT_EQ(second.files_read, 1u);
    EXPECT_TRUE(second.changed);
    EXPECT_EQ(store_.objects("Namespace").size(), 3u);
    fs::remove(path_ / "a.yaml");
    EXPECT_TRUE(directory.scan(store_).changed);
    EXPECT_EQ(store_.objects("Namespace").size(), 1u);
}

// Enough files for several readers: each is told of in its turn all the same.
TEST_F(ConfigDirectoryTest, of_many_files_a_bad_one_costs_only_itself_and_the_newest_wins) {
    constexpr int files = 40;
    for (int i = 0; i < files; ++i) {
        std::string text = i == 17 ? "kind: [" : ns("n" + std::to_string(i)) + ns("shared");
        write(fmt::format("{:02}.yaml", i), text);
        fs::last_write_time(path_ / fmt::format("{:02}.yaml", i),
                            fs::file_time_type::clock::now() - std::chrono::minutes(i));
    }
    auto directory = open();
    EXPECT_EQ(directory.scan(store_).files_read, 40u);
    EXPECT_EQ(store_.objects("Namespace").size(), 40u);  // 39 and the shared one
    auto* shared = store_.find({"Namespace", "", "shared"});
    ASSERT_NE(shared, nullptr);
    EXPECT_TRUE(shared->source.ends_with("00.yaml")) << shared->source;
    EXPECT_EQ(directory.scan(store_).files_read, 0u);
}

TEST_F(ConfigDirectoryTest, follows_the_swap_of_a_config_map_mount) {
    for (const char* version : {"..v1", "..v2"}) {
        fs::create_directory(path_ / version);
        std::ofstream(path_ / version / "a.yaml") << ns(version + 2);
    }
    fs::create_symlink("..v1", path_ / "..data");
    fs::create_symlink("..data/a.yaml", path_ / "a.yaml");
    auto directory = open();
    directory.scan(store_);
    EXPECT_NE(store_.find({"Namespace", "", "v1"}), nullptr);
    fs::create_symlink("..v2", path_ / "..data_tmp");
    fs::rename(path_ / "..data_tmp", path_ / "..data");
    EXPECT_TRUE(readable(directory));
    EXPECT_TRUE(directory.scan(store_).changed);
    EXPECT_EQ(store_.find({"Namespace", "", "v1"}), nullptr);
    EXPECT_NE(store_.find({"Namespace", "", "v2"}), nullptr);
}

TEST_F(ConfigDirectoryTest, keeps_objects_when_text_or_directory_is_lost) {
    write("a.yaml", ns("a"));
    auto directory = open();
    directory.scan(store_);
    write("a.yaml", "a: [");
    EXPECT_FALSE(directory.scan(store_).changed);
    EXPECT_NE(store_.find({"Namespace", "", "a"}), nullptr);
    EXPECT_EQ(store_.findings().size(), 1u);
    fs::rename(path_, path_.string() + "-away");
    EXPECT_FALSE(directory.scan(store_).changed);
    EXPECT_NE(store_.find({"Namespace", "", "a"}), nullptr);
    fs::rename(path_.string() + "-away", path_);
    directory.drain_events();
    write("a.yaml", ns("a"));
    directory.scan(store_);
    EXPECT_TRUE(store_.findings().empty());
    EXPECT_FALSE(directory.needs_polling());
}

TEST_F(ConfigDirectoryTest, lets_the_file_that_changed_last_define_an_object) {
    auto directory = open();
    write("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {from: a}}\n");
    directory.scan(store_);
    write("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {from: b}}\n");
    directory.scan(store_);
    const StoredObject* stored = store_.find({"Namespace", "", "x"});
    EXPECT_EQ(stored->object->meta.labels.at("from"), "b");
    ASSERT_EQ(stored->findings.size(), 1u);
    EXPECT_EQ(stored->findings[0].code, "ORL011");
    fs::remove(path_ / "b.yaml");
    EXPECT_TRUE(directory.scan(store_).changed);
    EXPECT_EQ(store_.find({"Namespace", "", "x"})->object->meta.labels.at("from"), "a");
}

}  // namespace
}  // namespace orlop::control
