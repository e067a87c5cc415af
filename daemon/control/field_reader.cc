#include "daemon/control/field_reader.h"

#include "daemon/base/limits.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace orlop::control {
namespace {

constexpr std::size_t name_bytes_max = 64;  // longer names are no typing slips

bool is_yaml_boolean_of_old(std::string_view text) {
    static constexpr std::string_view words[] = {
        "yes", "no",  "on", "off", "Yes", "No", "On",   "Off",   "YES",  "NO",
        "ON",  "OFF", "y",  "n",   "Y",   "N",  "True", "False", "TRUE", "FALSE"};
    return std::ranges::find(words, text) != std::end(words);
}

// Nanoseconds of one Go unit; 0 when unknown.
std::int64_t unit_ns(std::string_view unit) {
    if (unit == "ns") {
        return 1;
    }
    if (unit == "us" || unit == "\xC2\xB5s" || unit == "\xCE\xBCs") {
        return 1'000;
    }
    if (unit == "ms") {
        return 1'000'000;
    }
    if (unit == "s") {
        return 1'000'000'000;
    }
    if (unit == "m") {
        return 60'000'000'000;
    }
    return unit == "h" ? 3'600'000'000'000 : 0;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t above = row[j];
            std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + cost});
            diagonal = above;
        }
    }
    return row[b.size()];
}

}  // namespace

void Report::add(Finding finding) {
    if (findings_.size() < limits::findings_per_object_max) {
        finding.object = object_;
        finding.file = file_;
        findings_.push_back(std::move(finding));
    }
}

void Report::note_asked(std::string_view path) {
    std::string plain;
    bool inside = false;
    for (char c : path) {
        if (!inside || c == ']') {
            plain += c;
        }
        inside = c == '[' || (inside && c != ']');
    }
    asked_->insert(std::move(plain));
}

void Report::error(int line, std::string path, std::string message, std::string hint) {
    ++errors_;
    add({Severity::error,
         "ORL001",
         {},
         {},
         line,
         std::move(path),
         std::move(message),
         std::move(hint)});
}

void Report::warn(
    std::string code, int line, std::string path, std::string message, std::string hint) {
    add({Severity::warning,
         std::move(code),
         {},
         {},
         line,
         std::move(path),
         std::move(message),
         std::move(hint)});
}

FieldReader::FieldReader(Report& report, const Node* node, std::string path, UnknownFields unknown)
    : report_(report), node_(node), path_(std::move(path)), unknown_(unknown) {
    if (node_ != nullptr && !node_->is_map()) {
        if (!node_->is_null()) {
            report_.error(node_->line, path_, "found " + node_->describe() + ", want a map");
        }
        node_ = nullptr;
    }
}

FieldReader::~FieldReader() {
    if (node_ == nullptr || unknown_ == UnknownFields::ignored) {
        return;
    }
    for (const Field& field : node_->fields) {
        if (std::ranges::find(known_, field.key) != known_.end()) {
            continue;
        }
        std::string_view near = nearest_name(field.key, known_);
        std::string path = path_of(std::string_view(field.key).substr(0, 80));
        std::string hint = near.empty() ? "" : fmt::format("did you mean \"{}\"?", near);
        if (unknown_ == UnknownFields::refused) {
            report_.error(field.line, std::move(path), "unknown field", std::move(hint));
        } else {
            report_.warn(
                "ORL002", field.line, std::move(path), "unknown field, ignored", std::move(hint));
        }
    }
}

std::string FieldReader::path_of(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

const Node* FieldReader::take(std::string_view name) {
    known_.push_back(name);
    if (report_.watched()) {
        report_.note_asked(path_of(name));
    }
    const Node* node = node_ == nullptr ? nullptr : node_->find(name);
    return node == nullptr || node->is_null() ? nullptr : node;
}

int FieldReader::line_of(std::string_view name) {
    const Node* node = node_ == nullptr ? nullptr : node_->find(name);
    return node != nullptr ? node->line : line();
}

void FieldReader::wrong_type(std::string_view name, const Node& node, std::string_view wanted) {
    std::string hint;
    if (node.is_scalar() && wanted == "true or false" && is_yaml_boolean_of_old(node.text)) {
        hint = "YAML 1.2 knows only true and false; others are text";
    } else if (node.is_scalar() && wanted == "text") {
        hint = fmt::format("write it in quotes: \"{}\"", node.text.substr(0, 60));
    }
    report_.error(node.line,
                  path_of(name),
                  fmt::format("found {}, want {}", node.describe(), wanted),
                  std::move(hint));
}

std::optional<std::string> FieldReader::text(std::string_view name) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    auto value = read_text(*node);
    if (!value) {
        wrong_type(name, *node, "text");
    }
    return value;
}

std::string FieldReader::text_or(std::string_view name, std::string_view fallback) {
    auto value = text(name);
    return value ? *std::move(value) : std::string(fallback);
}

std::optional<bool> FieldReader::boolean(std::string_view name) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    bool plain = node->is_scalar() && node->style == Node::Style::plain;
    if (plain && (node->text == "true" || node->text == "false")) {
        return node->text == "true";
    }
    wrong_type(name, *node, "true or false");
    return std::nullopt;
}

std::optional<std::int64_t>
FieldReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    auto value = read_integer(*node);
    if (!value) {
        wrong_type(name, *node, "a whole number");
        return std::nullopt;
    }
    if (*value < min || *value > max) {
        std::string message = min == 0 && *value < 0
                                  ? fmt::format("{} must be non-negative", *value)
                                  : fmt::format("{} is not in range [{}, {}]", *value, min, max);
        report_.error(node->line, path_of(name), std::move(message));
        return std::nullopt;
    }
    return value;
}

std::optional<double> FieldReader::number(std::string_view name, double min, double max) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    auto value = read_number(*node);
    if (!value) {
        wrong_type(name, *node, "a number");
        return std::nullopt;
    }
    if (*value < min || *value > max) {
        report_.error(node->line,
                      path_of(name),
                      fmt::format("{} is not in range [{}, {}]", *value, min, max));
        return std::nullopt;
    }
    return value;
}

std::optional<Duration> FieldReader::duration(std::string_view name, ZeroDuration zero) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    static constexpr auto hint = "write a duration such as 500ms, 0.5s, 2m or 1h";
    auto value = node->is_scalar() ? parse_go_duration(node->text) : std::nullopt;
    if (!value) {
        report_.error(
            node->line, path_of(name), fmt::format("invalid duration: {}", node->describe()), hint);
        return std::nullopt;
    }
    if (*value == Duration::zero() && zero == ZeroDuration::allowed) {
        return value;
    }
    if (*value < std::chrono::milliseconds(1)) {
        report_.error(node->line,
                      path_of(name),
                      fmt::format("{}: duration must be greater than 1ms", node->text),
                      *value == Duration::zero() ? "leave the field out for no limit" : hint);
        return std::nullopt;
    }
    if (*value % std::chrono::milliseconds(1) != Duration::zero()) {
        report_.error(node->line,
                      path_of(name),
                      fmt::format("{}: only durations to ms precision are supported", node->text));
        return std::nullopt;
    }
    return value;
}

std::vector<std::string> FieldReader::texts(std::string_view name) {
    std::vector<std::string> values;
    each(name, [&](const Node& item, const std::string& path) {
        if (auto value = read_text(item)) {
            values.push_back(*std::move(value));
        } else {
            report_.error(item.line, path, "found " + item.describe() + ", want text");
        }
    });
    return values;
}

model::Labels FieldReader::labels(std::string_view name) {
    model::Labels labels;
    each_field(name, [&](const Field& field, const std::string& path) {
        if (field.value.is_null()) {
            labels[field.key];
            return;
        }
        if (auto value = read_text(field.value)) {
            labels[field.key] = *std::move(value);
        } else {
            report_.error(field.value.line,
                          path,
                          "found " + field.value.describe() + ", want text",
                          field.value.is_scalar() ? "write it in quotes" : "");
        }
    });
    return labels;
}

std::optional<std::size_t> FieldReader::choice(std::string_view name,
                                               const std::vector<std::string_view>& names) {
    const Node* node = take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    if (node->is_scalar()) {
        auto found = std::ranges::find(names, std::string_view(node->text));
        if (found != names.end()) {
            return static_cast<std::size_t>(found - names.begin());
        }
    }
    std::string list;
    for (std::string_view each_name : names) {
        list += list.empty() ? "" : ", ";
        list += each_name;
    }
    report_.error(node->line, path_of(name), "found " + node->describe(), "want one of " + list);
    return std::nullopt;
}

void FieldReader::each(std::string_view name,
                       const std::function<void(const Node&, const std::string&)>& visit) {
    const Node* node = take(name);
    if (node == nullptr) {
        return;
    }
    if (!node->is_list()) {
        wrong_type(name, *node, "a list");
        return;
    }
    for (std::size_t i = 0; i < node->items.size(); ++i) {
        visit(node->items[i], fmt::format("{}[{}]", path_of(name), i));
    }
}

void FieldReader::each_field(std::string_view name,
                             const std::function<void(const Field&, const std::string&)>& visit) {
    const Node* node = take(name);
    if (node == nullptr) {
        return;
    }
    if (!node->is_map()) {
        wrong_type(name, *node, "a map");
        return;
    }
    for (const Field& field : node->fields) {
        visit(field, fmt::format("{}[{:.80}]", path_of(name), field.key));
    }
}

void FieldReader::accept(std::initializer_list<std::string_view> names) {
    known_.insert(known_.end(), names.begin(), names.end());
}

void FieldReader::accept_unenforced(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names) {
        if (const Node* node = take(name)) {
            report_.warn("ORL003", node->line, path_of(name), "accepted, not enforced yet");
        }
    }
}

void FieldReader::error(std::string_view name, std::string message, std::string hint) {
    report_.error(line_of(name), path_of(name), std::move(message), std::move(hint));
}

void FieldReader::error_here(std::string message, std::string hint) {
    report_.error(line(), path_, std::move(message), std::move(hint));
}

std::optional<std::string> read_text(const Node& node) {
    if (!node.is_scalar()) {
        return std::nullopt;
    }
    bool typed = node.style == Node::Style::plain &&
                 (node.text == "true" || node.text == "false" || read_number(node));
    if (typed) {
        return std::nullopt;  // Kubernetes refuses a number where text is wanted
    }
    return node.text;
}

std::optional<std::int64_t> read_integer(const Node& node) {
    if (!node.is_scalar() || node.style != Node::Style::plain || node.text.empty()) {
        return std::nullopt;
    }
    std::string_view text = node.text;
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<double> read_number(const Node& node) {
    if (!node.is_scalar() || node.style != Node::Style::plain || node.text.empty()) {
        return std::nullopt;
    }
    std::string_view text = node.text;
    bool starts_like_number =
        is_digit(text[0]) || (text.size() > 1 && (text[0] == '-' || text[0] == '.') &&
                              (is_digit(text[1]) || text[1] == '.'));
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!starts_like_number || error != std::errc() || end != text.data() + text.size() ||
        !std::isfinite(value)) {
        return std::nullopt;
    }
    return value;
}

std::optional<Duration> parse_go_duration(std::string_view text) {
    bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) {
        text.remove_prefix(1);
    }
    if (text == "0") {
        return Duration::zero();
    }
    long double total = 0;
    if (text.empty()) {
        return std::nullopt;
    }
    while (!text.empty()) {
        std::size_t number = 0;
        while (number < text.size() && (is_digit(text[number]) || text[number] == '.')) {
            ++number;
        }
        std::size_t unit = number;
        while (unit < text.size() && !is_digit(text[unit]) && text[unit] != '.') {
            ++unit;
        }
        std::int64_t scale = unit_ns(text.substr(number, unit - number));
        long double value = 0;
        auto digits = text.substr(0, number);
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (scale == 0 || digits.empty() || error != std::errc() ||
            end != digits.data() + digits.size()) {
            return std::nullopt;
        }
        total += value * static_cast<long double>(scale);
        if (total > static_cast<long double>(std::numeric_limits<std::int64_t>::max()) / 2) {
            return std::nullopt;
        }
        text.remove_prefix(unit);
    }
    auto nanoseconds = static_cast<std::int64_t>(std::llround(total));
    return Duration(negative ? -nanoseconds : nanoseconds);
}

std::string_view nearest_name(std::string_view wanted, const std::vector<std::string_view>& names) {
    constexpr std::size_t edits_max = 2;
    std::string_view best;
    std::size_t best_distance = edits_max + 1;
    if (wanted.size() > name_bytes_max || wanted.size() < 3) {
        return best;
    }
    for (std::string_view name : names) {
        std::size_t shorter = std::min(wanted.size(), name.size());
        if (std::max(wanted.size(), name.size()) - shorter > edits_max || shorter < 3) {
            continue;
        }
        std::size_t distance = edit_distance(wanted, name);
        if (distance < best_distance) {
            best_distance = distance;
            best = name;
        }
    }
    return best;
}

}  // namespace orlop::control
