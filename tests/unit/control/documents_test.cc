// Hundreds of documents, accepted and refused (tests/unit/control/documents/README.md).
#include "daemon/control/decode.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace orlop::control {
namespace {

struct Row {
    std::string where;    // file:line of the table
    std::string verdict;  // ok, warn, no
    std::string fragment;
    std::string text;
};

// ` ;; ` parts fields that stand on lines of their own, as deep as the place of the first.
std::string fill(const std::string& section, std::string body) {
    std::string text = section;
    std::size_t place = text.find('%');
    EXPECT_NE(place, std::string::npos) << section;
    std::size_t line_start = text.rfind('\n', place);
    std::size_t indent = line_start == std::string::npos ? 0 : place - line_start - 1;
    for (std::size_t at = body.find(" ;; "); at != std::string::npos; at = body.find(" ;; ")) {
        body.replace(at, 4, "\n" + std::string(indent, ' '));
    }
    return text.replace(place, 1, body);
}

std::vector<Row> read_table(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<Row> rows;
    std::string section;
    bool in_rows = true;
    int number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        if (line.starts_with("@ rows")) {
            in_rows = true;
        } else if (line.starts_with("@ ")) {
            in_rows = false;
            section.clear();
        } else if (!in_rows) {
            section += line + "\n";
        } else if (!line.empty() && !line.starts_with('#')) {
            std::size_t bar = line.find(" | ");
            EXPECT_NE(bar, std::string::npos) << path << ":" << number;
            std::size_t space = line.find(' ');
            rows.push_back({path.filename().string() + ":" + std::to_string(number),
                            line.substr(0, space),
                            space < bar ? line.substr(space + 1, bar - space - 1) : "",
                            fill(section, line.substr(bar + 3))});
        }
    }
    return rows;
}

std::vector<Row> all_rows() {
    std::vector<Row> rows;
    std::filesystem::path folder = ORLOP_SOURCE_DIR "/tests/unit/control/documents";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".txt") {
            auto more = read_table(entry.path());
            rows.insert(rows.end(), more.begin(), more.end());
        }
    }
    return rows;
}

struct Outcome {
    bool accepted = false;
    std::string errors;
    std::string warnings;
    bool placed = true;  // every error names file and line
};

Outcome judge(const std::string& text) {
    DecodedText decoded = decode_text(text, {.file = "f.yaml"});
    Outcome out;
    Findings findings = decoded.errors;
    for (const DecodedObject& object : decoded.objects) {
        out.accepted = object.object != nullptr;
        findings.insert(findings.end(), object.findings.begin(), object.findings.end());
    }
    for (const Finding& finding : findings) {
        bool error = finding.severity == Severity::error;
        (error ? out.errors : out.warnings) += finding.to_string() + "\n";
        out.placed = out.placed && finding.file == "f.yaml" && finding.line > 0;
    }
    return out;
}

TEST(Documents, are_accepted_and_refused_as_the_tables_say) {
    std::vector<Row> rows = all_rows();
    std::size_t refused = 0;
    for (const Row& row : rows) {
        Outcome outcome = judge(row.text);
        bool want_accepted = row.verdict != "no";
        EXPECT_TRUE(row.verdict == "ok" || row.verdict == "warn" || row.verdict == "no");
        EXPECT_EQ(outcome.accepted, want_accepted) << row.where << "\n"
                                                   << row.text << outcome.errors;
        EXPECT_TRUE(outcome.placed) << row.where << "\n" << outcome.errors << outcome.warnings;
        const std::string& said = want_accepted ? outcome.warnings : outcome.errors;
        if (row.verdict == "ok") {
            EXPECT_EQ(said, "") << row.where;
        } else {
            ASSERT_FALSE(row.fragment.empty()) << row.where;
            EXPECT_NE(said.find(row.fragment), std::string::npos)
                << row.where << ": want \"" << row.fragment << "\", got\n"
                << said << row.text;
        }
        refused += want_accepted ? 0 : 1;
    }
    EXPECT_GE(rows.size(), 600u);
    EXPECT_GE(refused, 300u);
}

}  // namespace
}  // namespace orlop::control
