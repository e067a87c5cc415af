#include "daemon/control/objects/mixer_expression.h"

#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace orlop::control {
namespace {

using Kind = model::LimitAttribute::Kind;

constexpr std::pair<std::string_view, Kind> plain_attributes[] = {
    {"source.service", Kind::source_workload},
    {"source.name", Kind::source_workload},
    {"source.namespace", Kind::source_namespace},
    {"source.user", Kind::source_principal},
    {"source.principal", Kind::source_principal},
    {"source.ip", Kind::source_address},
    {"destination.service", Kind::destination_service},
    {"destination.name", Kind::destination_name},
    {"destination.namespace", Kind::destination_namespace},
    {"request.host", Kind::host},
    {"request.path", Kind::path},
    {"request.method", Kind::method},
};
constexpr std::pair<std::string_view, Kind> keyed_attributes[] = {
    {"source.labels", Kind::source_label},
    {"destination.labels", Kind::destination_label},
    {"request.headers", Kind::header},
};

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

// Where `mark` stands outside of quotes; npos when nowhere.
std::size_t find_outside_quotes(std::string_view text, std::string_view mark) {
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        quoted = quoted != (text[i] == '"');
        if (!quoted && text.substr(i).starts_with(mark)) {
            return i;
        }
    }
    return std::string_view::npos;
}

std::vector<std::string_view> split(std::string_view text, std::string_view mark) {
    std::vector<std::string_view> parts;
    while (true) {
        std::size_t at = find_outside_quotes(text, mark);
        parts.push_back(trim(text.substr(0, at)));
        if (at == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(at + mark.size());
    }
}

// "text" without its quotes.
std::optional<std::string_view> literal_of(std::string_view text) {
    bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    if (!quoted || text.substr(1, text.size() - 2).find('"') != std::string_view::npos) {
        return std::nullopt;
    }
    return text.substr(1, text.size() - 2);
}

std::optional<model::LimitAttribute> attribute_of(std::string_view text) {
    if (auto literal = literal_of(text)) {
        return model::LimitAttribute{Kind::literal, std::string(*literal)};
    }
    for (const auto& [name, kind] : plain_attributes) {
        if (text == name) {
            return model::LimitAttribute{kind, {}};
        }
    }
    for (const auto& [name, kind] : keyed_attributes) {
        std::string_view rest = text;
        if (!rest.starts_with(name)) {
            continue;
        }
        rest.remove_prefix(name.size());
        if (!rest.starts_with('[') || !rest.ends_with(']')) {
            continue;
        }
        auto key = literal_of(trim(rest.substr(1, rest.size() - 2)));
        if (key && !key->empty()) {
            std::string written(*key);
            return model::LimitAttribute{kind, kind == Kind::header ? to_lower(written) : written};
        }
    }
    return std::nullopt;
}

Error not_understood(std::string_view part) {
    return {ErrorKind::invalid_input, fmt::format("\"{:.80}\" is not understood", part)};
}

}  // namespace

Result<model::LimitExpression> parse_attribute_expression(std::string_view text) {
    model::LimitExpression out;
    for (std::string_view part : split(text, "|")) {
        auto attribute = attribute_of(part);
        if (!attribute) {
            return std::unexpected(not_understood(part));
        }
        out.push_back(*std::move(attribute));
    }
    return out;
}

Result<std::vector<model::LimitCondition>> parse_mixer_match(std::string_view text) {
    std::vector<model::LimitCondition> out;
    text = trim(text);
    if (text.empty() || text == "true") {
        return out;
    }
    for (std::string_view part : split(text, "&&")) {
        std::size_t equal = find_outside_quotes(part, "==");
        std::size_t other = find_outside_quotes(part, "!=");
        std::size_t at = std::min(equal, other);
        if (at == std::string_view::npos) {
            return std::unexpected(not_understood(part));
        }
        std::string_view left = trim(part.substr(0, at));
        if (left.starts_with('(') && left.ends_with(')')) {
            left = trim(left.substr(1, left.size() - 2));
        }
        auto value = literal_of(trim(part.substr(at + 2)));
        auto expression = parse_attribute_expression(left);
        if (!expression || !value) {
            return std::unexpected(not_understood(part));
        }
        out.push_back({*std::move(expression), other < equal, std::string(*value)});
    }
    return out;
}

}  // namespace orlop::control
