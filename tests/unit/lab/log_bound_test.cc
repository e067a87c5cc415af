#include "daemon/base/limits.h"
#include "daemon/lab/log_bound.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace orlop::lab {
namespace {

namespace fs = std::filesystem;

class LogBound : public ::testing::Test {
protected:
    void SetUp() override {
        fs::create_directories(state_ / "logs");
        fs::create_directories(state_ / "nodes/n1");
    }
    void TearDown() override { fs::remove_all(state_); }

    void write(const fs::path& name, std::size_t bytes) {
        std::ofstream file(state_ / name);
        for (std::size_t line = 0; line * 16 < bytes; ++line) {
            file << std::string(15, static_cast<char>('a' + line % 26)) << '\n';
        }
        file << "the newest line\n";
    }
    std::string read(const fs::path& name) {
        std::ifstream file(state_ / name);
        std::stringstream text;
        text << file.rdbuf();
        return text.str();
    }

    fs::path state_ = fs::temp_directory_path() / ("orlop-logs-" + std::to_string(::getpid()));
};

TEST_F(LogBound, drops_the_older_part_of_a_long_log_and_leaves_a_short_one) {
    write("logs/default_talker.log", limits::lab_log_bytes_max + 1);
    write("logs/default_quiet.log", 1'000);
    write("nodes/n1/orlopd.access.log", limits::lab_log_bytes_max + 1);
    const std::string quiet = read("logs/default_quiet.log");
    bound_logs(state_);
    EXPECT_EQ(read("logs/default_quiet.log"), quiet);
    for (const char* name : {"logs/default_talker.log", "nodes/n1/orlopd.access.log"}) {
        const std::string text = read(name);
        EXPECT_LT(text.size(), limits::lab_log_bytes_max / 2) << name;
        EXPECT_TRUE(text.starts_with("[older lines were dropped]\n")) << text.substr(0, 60);
        EXPECT_TRUE(text.ends_with("\nthe newest line\n")) << name;
        const std::size_t first = text.find('\n') + 1;
        EXPECT_EQ(text.find('\n', first) - first, 15U) << "starts with a whole line";
    }
}

}  // namespace
}  // namespace orlop::lab
