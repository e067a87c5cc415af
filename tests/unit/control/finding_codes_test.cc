// The table of daemon/README.md, "Findings", against the sources: every code is listed once, with
// one meaning, and said by the files that the table names and by no others. A code that turns up in
// another file is either the same thing said there, then the table says so, or needs a new code.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace orlop::control {
namespace {

using Files = std::set<std::string>;

struct Listed {
    std::string meaning;
    Files files;
};

std::map<std::string, Listed> read_table() {
    std::map<std::string, Listed> out;
    std::ifstream file(ORLOP_SOURCE_DIR "/daemon/README.md");
    const std::regex row(R"(\| ((?:ORL|IST)\d{3,4}) \| ([^|]+) \| ([^|]+) \|)");
    const std::regex name("`([^`]+)`");
    for (std::string line; std::getline(file, line);) {
        std::smatch found;
        if (!std::regex_match(line, found, row)) {
            continue;
        }
        Listed& listed = out[found[1]];
        EXPECT_EQ(listed.meaning, "") << found[1] << " is listed twice";
        listed.meaning = found[2];
        std::string names = found[3];
        for (std::sregex_iterator at(names.begin(), names.end(), name), end; at != end; ++at) {
            listed.files.insert((*at)[1]);
        }
    }
    return out;
}

std::map<std::string, Files> read_sources() {
    std::map<std::string, Files> out;
    const std::filesystem::path root = ORLOP_SOURCE_DIR "/daemon";
    const std::regex code(R"re("((?:ORL|IST)\d{3,4})")re");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
        auto kind = entry.path().extension();
        if (kind != ".cc" && kind != ".h") {
            continue;
        }
        std::ifstream file(entry.path());
        std::stringstream stream;
        stream << file.rdbuf();
        std::string text = stream.str();
        for (std::sregex_iterator at(text.begin(), text.end(), code), end; at != end; ++at) {
            out[(*at)[1]].insert(std::filesystem::relative(entry.path(), root).string());
        }
    }
    return out;
}

TEST(FindingCodes, have_one_meaning_each_and_are_said_where_the_readme_says) {
    auto listed = read_table();
    auto said = read_sources();
    ASSERT_GT(said.size(), 30u);
    std::map<std::string, std::string> by_meaning;
    for (const auto& [code, row] : listed) {
        auto [other, fresh] = by_meaning.emplace(row.meaning, code);
        EXPECT_TRUE(fresh) << code << " means what " << other->second << " means";
        EXPECT_EQ(said[code], row.files) << code << ": " << row.meaning;
    }
    for (const auto& [code, files] : said) {
        EXPECT_TRUE(listed.contains(code))
            << code << " of " << *files.begin() << " is not in daemon/README.md";
    }
}

}  // namespace
}  // namespace orlop::control
