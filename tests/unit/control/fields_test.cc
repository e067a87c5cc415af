// The tables of daemon/README.md, "Fields", against the decoders: what a table calls enforced is
// asked for and accepted without a word; what it calls not enforced is refused or warned of; and no
// decoder knows a field that its table leaves out. The documents under fields/ use every line.
#include "daemon/control/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace orlop::control {
namespace {

struct Row {
    std::string field;  // "spec.http[].timeout"
    std::string acts;   // yes, partly, no
};
using Tables = std::map<std::string, std::vector<Row>>;  // by kind

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

Tables read_tables() {
    Tables tables;
    std::istringstream lines(read_file(ORLOP_SOURCE_DIR "/daemon/README.md"));
    std::string kind;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("### ")) {
            kind = line.substr(4);
        } else if (line.starts_with("| `") && !kind.empty()) {
            std::size_t name_end = line.find('`', 3);
            std::size_t acts = name_end + 4;
            tables[kind].push_back({"spec." + line.substr(3, name_end - 3),
                                    line.substr(acts, line.find(' ', acts) - acts)});
        } else if (line.starts_with("## ")) {
            kind.clear();
        }
    }
    return tables;
}

// "spec.http[0].headers[x-a].exact" -> "spec.http[].headers[].exact"
std::string plain(const std::string& path) {
    std::string out;
    bool inside = false;
    for (char c : path) {
        if (!inside || c == ']') {
            out += c;
        }
        inside = c == '[' || (inside && c != ']');
    }
    return out;
}

bool lies_within(const std::string& path, const std::string& field) {
    return path == field || path.starts_with(field + ".") || path.starts_with(field + "[");
}

void collect_paths(const Node& node, const std::string& path, std::set<std::string>& out) {
    if (node.is_map() && !node.fields.empty()) {
        for (const Field& field : node.fields) {
            collect_paths(field.value, path + "." + field.key, out);
        }
    } else if (node.is_list() && !node.items.empty()) {
        for (const Node& item : node.items) {
            collect_paths(item, path + "[]", out);
        }
    } else {
        out.insert(path);
    }
}

// What the decoders did with the documents of one kind.
struct Seen {
    std::set<std::string> asked;
    std::set<std::string> used;  // fields that the documents write
    // Of documents that write them: no word said, or a word about the field.
    std::set<std::string> silent;
    std::set<std::string> told;
};

bool says_not_enforced(const Finding& finding) {
    return finding.severity == Severity::error || finding.code == "ORL002" ||
           finding.code == "ORL003";
}

void see_document(const Node& document, const std::vector<Row>& rows, Seen& seen) {
    DecodedObject decoded = decode_object(document, {.file = "f.yaml", .asked = &seen.asked});
    std::set<std::string> paths;
    collect_paths(*document.find("spec"), "spec", paths);
    seen.used.insert(paths.begin(), paths.end());
    for (const Row& row : rows) {
        bool here = std::ranges::any_of(
            paths, [&](const std::string& path) { return lies_within(path, row.field); });
        bool told = std::ranges::any_of(decoded.findings, [&](const Finding& finding) {
            std::string path = plain(finding.path);
            return says_not_enforced(finding) &&
                   (lies_within(path, row.field) || lies_within(row.field, path) || path.empty());
        });
        if (here) {
            (told ? seen.told : seen.silent).insert(row.field);
        }
    }
}

std::map<std::string, Seen> see_documents(const Tables& tables) {
    std::map<std::string, Seen> out;
    std::filesystem::path folder = ORLOP_SOURCE_DIR "/tests/unit/control/fields";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        auto documents = parse_yaml(read_file(entry.path()));
        EXPECT_TRUE(documents) << entry.path();
        for (const Node& document : *documents) {
            std::string kind(document.text_of("kind"));
            auto table = tables.find(kind);
            if (table != tables.end()) {
                see_document(document, table->second, out[kind]);
            }
        }
    }
    return out;
}

TEST(Fields, the_tables_say_what_the_decoders_do) {
    Tables tables = read_tables();
    auto seen_by_kind = see_documents(tables);
    for (const auto& [kind, rows] : tables) {
        const Seen& seen = seen_by_kind[kind];
        for (const Row& row : rows) {
            SCOPED_TRACE(kind + " " + row.field + ": " + row.acts);
            bool told = seen.told.contains(row.field);
            bool silent = seen.silent.contains(row.field);
            EXPECT_TRUE(told || silent) << "no document under fields/ writes it";
            if (row.acts == "yes") {
                EXPECT_TRUE(seen.asked.contains(row.field)) << "the decoder never asks for it";
                EXPECT_TRUE(silent) << "the decoder says that it does not act";
            } else if (row.acts == "no") {
                EXPECT_FALSE(silent) << "the decoder says nothing";
            } else {
                EXPECT_EQ(row.acts, "partly");
            }
        }
    }
}

TEST(Fields, the_tables_leave_nothing_out) {
    Tables tables = read_tables();
    for (const char* kind : {"VirtualService",
                             "DestinationRule",
                             "PeerAuthentication",
                             "AuthorizationPolicy",
                             "Gateway"}) {
        EXPECT_TRUE(tables.contains(kind)) << kind;
    }
    for (const auto& [kind, seen] : see_documents(tables)) {
        auto listed = [&](const std::string& path) {
            return std::ranges::any_of(tables[kind], [&](const Row& row) {
                return lies_within(path, row.field) || lies_within(row.field, path);
            });
        };
        for (const std::string& path : seen.used) {
            EXPECT_TRUE(listed(path)) << kind << ": a document uses " << path;
        }
        for (const std::string& path : seen.asked) {
            EXPECT_TRUE(!path.starts_with("spec.") || listed(path))
                << kind << ": the decoder asks for " << path;
        }
    }
}

}  // namespace
}  // namespace orlop::control
