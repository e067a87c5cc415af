#include "daemon/control/objects/legacy_service.h"

#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

constexpr std::size_t label_bytes_max = 63;

// Anything as a DNS label; what had to be changed is told apart by a hash of the original.
std::string as_dns_label(const std::string& text) {
    std::string out = to_lower(text);
    std::ranges::replace_if(
        out,
        [](char c) { return !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'); },
        '-');
    if (out == text && is_dns_label(out)) {
        return out;
    }
    std::uint32_t hash = 2166136261u;
    for (char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    }
    constexpr std::size_t suffix_bytes = 9;  // "-" and eight digits
    out = out.substr(0, label_bytes_max - suffix_bytes - 1);
    return fmt::format("s{}-{:08x}", out, hash);
}

// Namespace of `reviews.prod.svc.cluster.local`; empty for other names.
std::string namespace_in(const std::string& host) {
    std::size_t first = host.find('.');
    std::size_t second = first == std::string::npos ? first : host.find('.', first + 1);
    if (second == std::string::npos || host.compare(second, 5, ".svc.") != 0) {
        return {};
    }
    return host.substr(first + 1, second - first - 1);
}

}  // namespace

std::string subset_name_of(const model::Labels& labels) {
    std::string name;
    for (const auto& [key, value] : labels) {
        name += name.empty() ? "" : "-";
        name += key == "version" ? value : key + "-" + value;
    }
    return name.empty() ? name : as_dns_label(name);
}

std::optional<LegacyName>
read_legacy_service(FieldReader& parent, std::string_view name, const std::string& object_ns) {
    FieldReader reader(parent.report(), parent.take(name), parent.path_of(name));
    if (!reader.present()) {
        return std::nullopt;
    }
    LegacyName out;
    out.line = reader.line();
    std::string service = to_lower(reader.text_or("service", ""));
    std::string short_name = to_lower(reader.text_or("name", ""));
    std::string ns = reader.text_or("namespace", "");
    std::string domain = to_lower(reader.text_or("domain", ""));
    out.labels = reader.labels("labels");
    if (service.empty() == short_name.empty()) {
        reader.error_here(service.empty() ? "a service needs a name"
                                          : "name and service exclude each other",
                          "write name (and namespace), or the full name as service");
        return std::nullopt;
    }
    if (!service.empty()) {
        std::string inside = namespace_in(service);
        out.service = {service, inside.empty() ? object_ns : inside};
    } else if (!domain.empty()) {
        std::string own = ns.empty() ? object_ns : ns;
        out.service = {fmt::format("{}.{}.{}", short_name, own, domain), own};
    } else {
        out.service = {short_name, ns.empty() ? object_ns : ns};
    }
    if (!is_host_pattern(out.service.host) || !is_dns_label(out.service.ns)) {
        reader.error_here(fmt::format("\"{:.80}\" is no service name", out.service.host));
        return std::nullopt;
    }
    return out;
}

std::string host_seen_from(const LegacyService& service, const std::string& from_ns) {
    bool literal = service.host.find('.') != std::string::npos || service.ns == from_ns;
    return literal ? service.host : service.host + "." + service.ns + ".svc.cluster.local";
}

LegacySubset make_legacy_subset(const LegacyName& name) {
    return {name.service, subset_name_of(name.labels), name.labels, name.line};
}

void note_not_carried(FieldReader& reader, std::string_view field, std::string why) {
    if (reader.take(field) != nullptr) {
        reader.report().warn("ORL022",
                             reader.line_of(field),
                             reader.path_of(field),
                             "not carried to the current objects",
                             std::move(why));
    }
}

}  // namespace orlop::control
