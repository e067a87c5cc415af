// Table and the other forms of printing: columns as kubectl and istioctl print them, JSON, YAML.
#pragma once

#include "daemon/app/cli/session.h"

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace orlop::app::cli {

// Left-aligned columns, three blanks apart, no blanks at the end of a line; empty cells are empty.
class Table {
public:
    explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    bool empty() const { return rows_.size() == 1; }
    std::string render() const;

private:
    std::vector<std::vector<std::string>> rows_;
};

// Two blanks of indent, keys as they are.
std::string json_text(const nlohmann::json& value);
std::string yaml_text(const nlohmann::json& value);

// The body of an answer; an Error when it is no JSON.
Result<nlohmann::json> parse_json(const std::string& text);

// Prints `value` as --output asks; false for a table, which the caller prints.
[[nodiscard]] bool print_structured(Session& session, const nlohmann::json& value);

std::string age_of(std::int64_t created_ns, std::int64_t now_ns);  // 5s, 3m, 2h, 4d

}  // namespace orlop::app::cli
