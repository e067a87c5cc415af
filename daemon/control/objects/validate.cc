#include "daemon/control/objects/validate.h"

#include "daemon/base/ip.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

bool is_lower_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

constexpr double smallest_percent = 0.0001;  // one part per million

}  // namespace

bool is_dns_label(std::string_view text) {
    if (text.empty() || text.size() > 63 || !is_lower_alnum(text.front()) ||
        !is_lower_alnum(text.back())) {
        return false;
    }
    return std::ranges::all_of(text, [](char c) { return is_lower_alnum(c) || c == '-'; });
}

bool is_dns_name(std::string_view text) {
    if (text.empty() || text.size() > 253) {
        return false;
    }
    while (true) {
        std::size_t dot = text.find('.');
        if (!is_dns_label(text.substr(0, dot))) {
            return false;
        }
        if (dot == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(dot + 1);
    }
}

bool is_host_pattern(std::string_view text) {
    if (text == "*") {
        return true;
    }
    if (text.starts_with("*.")) {
        return is_dns_name(text.substr(2));
    }
    return is_dns_name(text) || IpAddress::parse(text).has_value();
}

std::string to_lower(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    });
    return lower;
}

std::optional<double> read_percent(FieldReader& parent, std::string_view name) {
    const Node* node = parent.take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    FieldReader percent(parent.report(), node, parent.path_of(name));
    auto value = percent.number("value", -1e300, 1e300);
    if (!value) {
        return node->is_map() && !percent.has("value") ? std::optional<double>(0) : std::nullopt;
    }
    if (*value != 0 && (*value < smallest_percent || *value > 100)) {
        percent.error("value",
                      fmt::format("percentage {} is neither 0.0, nor in range "
                                  "[0.0001, 100.0]",
                                  *value));
        return std::nullopt;
    }
    return value;
}

std::optional<Regex>
read_regex(Report& report, int line, const std::string& path, const std::string& pattern) {
    if (pattern.empty()) {
        report.error(line, path, "regex must not be empty");
        return std::nullopt;
    }
    auto regex = Regex::compile(pattern);
    if (!regex) {
        report.error(line, path, regex.error().context, "Istio uses RE2 style regex-based match");
        return std::nullopt;
    }
    return *std::move(regex);
}

std::optional<model::StringMatch>
read_string_match(Report& report, const Node& node, const std::string& path, Presence presence) {
    using Kind = model::StringMatch::Kind;
    FieldReader reader(report, &node, path);
    auto exact = reader.text("exact");
    auto prefix = reader.text("prefix");
    auto regex = reader.text("regex");
    if (!reader.present()) {
        if (node.is_null()) {
            report.error(node.line, path, "match cannot be null", "write exact, prefix or regex");
        }
        return std::nullopt;
    }
    int given = (exact ? 1 : 0) + (prefix ? 1 : 0) + (regex ? 1 : 0);
    if (given > 1) {
        reader.error_here("exact, prefix and regex exclude each other", "keep one of them");
        return std::nullopt;
    }
    model::StringMatch match;
    if (given == 0 || (regex && *regex == "*")) {
        if (presence == Presence::refused) {
            reader.error_here("one of exact, prefix or regex is needed");
            return std::nullopt;
        }
        return match;
    }
    match.kind = exact ? Kind::exact : (prefix ? Kind::prefix : Kind::regex);
    match.text = exact ? *exact : (prefix ? *prefix : *regex);
    if (match.kind == Kind::regex) {
        match.regex = read_regex(report, reader.line_of("regex"), path + ".regex", match.text);
        if (!match.regex) {
            return std::nullopt;
        }
    }
    return match;
}

std::vector<std::string> read_export_to(FieldReader& spec) {
    std::vector<std::string> values = spec.texts("exportTo");
    for (const std::string& value : values) {
        if (value == "~") {
            spec.error("exportTo",
                       "\"~\" (no namespace) is only possible for ServiceEntry",
                       "use \".\" for the object's own namespace");
        } else if (value == "*" && values.size() > 1) {
            spec.error("exportTo", "\"*\" exports to all; it stands alone");
        } else if (value != "." && value != "*" && !is_dns_label(value)) {
            spec.error("exportTo", fmt::format("\"{:.80}\" is no namespace", value));
        }
    }
    if (values.size() == 1 && values.front() == "*") {
        values.clear();
    }
    return values;
}

std::optional<std::uint16_t> read_port(FieldReader& reader, std::string_view name) {
    auto value = reader.integer(name, 1, 65535);
    return value ? std::optional(static_cast<std::uint16_t>(*value)) : std::nullopt;
}

}  // namespace orlop::control
