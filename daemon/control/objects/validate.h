// Grammars that several kinds share. Pure.
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/finding.h"
#include "daemon/model/route.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::control {

bool is_dns_label(std::string_view text);     // DNS-1123 label, at most 63 bytes
bool is_dns_name(std::string_view text);      // DNS-1123 subdomain, at most 253 bytes
bool is_host_pattern(std::string_view text);  // a name, `*`, `*.name` or an IP address

std::string to_lower(std::string_view text);

// {value: double} of 0 or [0.0001, 100]; nothing when absent or wrong.
std::optional<double> read_percent(FieldReader& parent, std::string_view name);

// exact, prefix or regex; `{}` and regex `*` mean presence where `presence` says so.
enum class Presence : unsigned char { refused, allowed };
std::optional<model::StringMatch>
read_string_match(Report& report, const Node& node, const std::string& path, Presence presence);

std::optional<Regex>
read_regex(Report& report, int line, const std::string& path, const std::string& pattern);

// exportTo of VirtualService, DestinationRule: `.`, `*` alone, or namespaces.
std::vector<std::string> read_export_to(FieldReader& spec);

std::optional<std::uint16_t> read_port(FieldReader& reader, std::string_view name);

}  // namespace orlop::control
