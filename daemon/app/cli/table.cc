#include "daemon/app/cli/table.h"

#include "daemon/control/yaml_document.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

// Columns on screen: continuation bytes of UTF-8 take none.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Names come from objects: no escape sequence of theirs may reach the terminal.
std::string shown(std::string_view text) {
    std::string out;
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        out += byte < 0x20 || byte == 0x7f ? '?' : c;
    }
    return out;
}

}  // namespace

std::string Table::render() const {
    std::vector<std::size_t> widths(rows_.front().size(), 0);
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], width_of(row[i]));
        }
    }
    std::string out;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            line += shown(row[i]);
            line.append(widths[i] - width_of(row[i]) + 3, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

std::string json_text(const json& value) {
    return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string yaml_text(const json& value) {
    std::string line = value.dump(-1, ' ', false, json::error_handler_t::replace);
    auto documents = control::parse_yaml(line);
    if (!documents || documents->empty()) {
        return json_text(value);  // JSON is YAML
    }
    std::string text = control::to_yaml(documents->front());
    return text.ends_with('\n') ? text : text + "\n";
}

Result<json> parse_json(const std::string& text) {
    json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) {
        return fail(ErrorKind::internal,
                    "orlopd's answer is no JSON; do orlopctl and orlopd have the same version?");
    }
    return value;
}

bool print_structured(Session& session, const json& value) {
    if (session.output == Output::table) {
        return false;
    }
    fmt::print(
        session.out, "{}", session.output == Output::json ? json_text(value) : yaml_text(value));
    return true;
}

std::string age_of(std::int64_t created_ns, std::int64_t now_ns) {
    std::int64_t seconds = std::max<std::int64_t>(0, (now_ns - created_ns) / 1'000'000'000);
    if (seconds < 120) {
        return fmt::format("{}s", seconds);
    }
    if (seconds < 120 * 60) {
        return fmt::format("{}m", seconds / 60);
    }
    if (seconds < 48 * 3600) {
        return fmt::format("{}h", seconds / 3600);
    }
    return fmt::format("{}d", seconds / 86400);
}

}  // namespace orlop::app::cli
