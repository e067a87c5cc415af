#include "daemon/control/objects/load_balancer.h"

#include "daemon/base/limits.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

constexpr std::int64_t ring_size_max = 8 * 1024 * 1024;
constexpr std::int64_t maglev_size_max = 5'000'011;

bool is_prime(std::uint64_t n) {
    if (n < 2) {
        return false;
    }
    for (std::uint64_t factor = 2; factor * factor <= n; ++factor) {
        if (n % factor == 0) {
            return false;
        }
    }
    return true;
}

void warn_of_cut(FieldReader& table, std::uint64_t size) {
    if (size > limits::hash_table_entries_max) {
        table.report().warn("ORL017",
                            table.line(),
                            table.path(),
                            fmt::format("a table of {} entries is cut to {} "
                                        "(hash_table_entries_max)",
                                        size,
                                        limits::hash_table_entries_max));
    }
}

void read_hash_table(FieldReader& hash, model::ConsistentHash& out) {
    FieldReader ring(hash.report(), hash.take("ringHash"), hash.path_of("ringHash"));
    FieldReader maglev(hash.report(), hash.take("maglev"), hash.path_of("maglev"));
    auto old_size = hash.integer("minimumRingSize", 0, ring_size_max);
    auto size = ring.integer("minimumRingSize", 0, ring_size_max);
    if (size.value_or(0) > 0 || old_size.value_or(0) > 0) {
        out.table_size = static_cast<std::uint64_t>(size ? *size : *old_size);
        warn_of_cut(ring, out.table_size);
    }
    if (!maglev.present()) {
        return;
    }
    out.table = model::ConsistentHash::Table::maglev;
    auto table = maglev.integer("tableSize", 1, maglev_size_max - 1);
    if (!table) {
        if (!maglev.has("tableSize")) {
            maglev.error_here("tableSize must be set for maglev");
        }
        return;
    }
    out.table_size = static_cast<std::uint64_t>(*table);
    if (!is_prime(out.table_size)) {
        maglev.error("tableSize", "tableSize must be a prime number for maglev");
    }
    warn_of_cut(maglev, out.table_size);
    if (ring.present()) {
        hash.error_here("ringHash and maglev exclude each other");
    }
}

model::ConsistentHash read_consistent_hash(FieldReader& hash) {
    using Key = model::ConsistentHash::Key;
    model::ConsistentHash out;
    int keys = 0;
    if (auto header = hash.text("httpHeaderName")) {
        out.key = Key::header;
        out.name = to_lower(*header);
        ++keys;
    }
    FieldReader cookie(hash.report(), hash.take("httpCookie"), hash.path_of("httpCookie"));
    if (cookie.present()) {
        out.key = Key::cookie;
        out.name = cookie.text_or("name", "");
        out.cookie_path = cookie.text_or("path", "");
        out.cookie_ttl = cookie.duration("ttl", ZeroDuration::allowed);
        cookie.accept_unenforced({"attributes"});
        bool clean = std::ranges::none_of(out.name + out.cookie_path, [](char c) {
            return static_cast<unsigned char>(c) <= 0x20 || c == ';' || c == ',' || c == 0x7F;
        });
        if (out.name.empty() || !clean) {
            cookie.error_here(out.name.empty() ? "name required for HttpCookie"
                                               : "name or path is not possible in a cookie");
        }
        ++keys;
    }
    if (hash.boolean("useSourceIp").value_or(false)) {
        out.key = Key::source_ip;
        ++keys;
    }
    if (auto parameter = hash.text("httpQueryParameterName")) {
        out.key = Key::query_parameter;
        out.name = *parameter;
        ++keys;
    }
    read_hash_table(hash, out);
    if (keys != 1) {
        hash.error_here(keys == 0 ? "consistent hash needs a key"
                                  : "consistent hash must have exactly one key",
                        "httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName");
    }
    return out;
}

std::optional<model::Warmup> read_warmup(FieldReader& balancer) {
    std::optional<model::Warmup> out;
    if (auto window = balancer.duration("warmupDurationSecs")) {
        out = model::Warmup{*window};
    }
    FieldReader reader(balancer.report(), balancer.take("warmup"), balancer.path_of("warmup"));
    if (!reader.present()) {
        return out;
    }
    model::Warmup warmup;
    warmup.minimum_percent = reader.number("minimumPercent", 0, 100).value_or(10);
    warmup.aggression = reader.number("aggression", 1, 1e6).value_or(1);
    if (!reader.has("duration")) {
        reader.error_here("duration is required");
    }
    warmup.window = reader.duration("duration").value_or(Duration::zero());
    return warmup.window > Duration::zero() ? std::optional(warmup) : out;
}

void read_distribute(FieldReader& reader, model::LocalityLb& out) {
    reader.each("distribute", [&](const Node& item, const std::string& path) {
        FieldReader entry(reader.report(), &item, path);
        model::LocalityLb::Distribute rule;
        rule.from = entry.text_or("from", "");
        if (rule.from.empty()) {
            entry.error("from", "locality must not be empty", "region/zone/subzone, or region/*");
        }
        std::int64_t sum = 0;
        entry.each_field("to", [&](const Field& field, const std::string& to_path) {
            auto weight = read_integer(field.value);
            if (!weight || *weight < 1 || *weight > 100) {
                reader.report().error(
                    field.line, to_path, "locality weight must be in range 1..100");
                return;
            }
            sum += *weight;
            rule.to.emplace_back(field.key, static_cast<std::uint32_t>(*weight));
        });
        if (sum != 100) {
            entry.error("to", fmt::format("total locality weight {} != 100", sum));
        }
        out.distribute.push_back(std::move(rule));
    });
}

}  // namespace

std::optional<model::LocalityLb> read_locality_lb(FieldReader& parent) {
    FieldReader reader(
        parent.report(), parent.take("localityLbSetting"), parent.path_of("localityLbSetting"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::LocalityLb out;
    out.enabled = reader.boolean("enabled").value_or(true);
    read_distribute(reader, out);
    reader.each("failover", [&](const Node& item, const std::string& path) {
        FieldReader entry(reader.report(), &item, path);
        model::LocalityLb::Failover rule{entry.text_or("from", ""), entry.text_or("to", "")};
        if (rule.from == rule.to) {
            entry.error_here("locality lb failover settings must specify different regions");
        }
        for (const std::string& region : {rule.from, rule.to}) {
            if (region.find_first_of("/*") != std::string::npos) {
                entry.error_here("locality lb failover should be set with regions only");
            }
        }
        out.failover.push_back(std::move(rule));
    });
    out.failover_priority = reader.texts("failoverPriority");
    if (!out.distribute.empty() && (!out.failover.empty() || !out.failover_priority.empty())) {
        reader.error_here("can not simultaneously specify 'distribute' and 'failover' or "
                          "'failoverPriority'");
    }
    if (out.distribute.size() + out.failover.size() + out.failover_priority.size() >
        limits::locality_rules_max) {
        reader.error_here(
            fmt::format("more than {} rules (locality_rules_max)", limits::locality_rules_max));
    }
    return out;
}

std::optional<LoadBalancerSpec> read_load_balancer(FieldReader& policy) {
    using model::LoadBalancing;
    FieldReader reader(
        policy.report(), policy.take("loadBalancer"), policy.path_of("loadBalancer"));
    if (!reader.present()) {
        return std::nullopt;
    }
    static constexpr LoadBalancing simple[] = {LoadBalancing::least_request,
                                               LoadBalancing::least_request,
                                               LoadBalancing::least_request,
                                               LoadBalancing::round_robin,
                                               LoadBalancing::random,
                                               LoadBalancing::passthrough};
    LoadBalancerSpec out;
    auto name = reader.choice(
        "simple",
        {"UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH"});
    out.simple = simple[name.value_or(0)];
    FieldReader hash(
        policy.report(), reader.take("consistentHash"), reader.path_of("consistentHash"));
    if (hash.present()) {
        out.simple = LoadBalancing::consistent_hash;
        out.consistent_hash = read_consistent_hash(hash);
        if (name) {
            reader.error("simple", "simple and consistentHash exclude each other");
        }
    }
    out.warmup = read_warmup(reader);
    if (out.warmup && out.simple != LoadBalancing::round_robin &&
        out.simple != LoadBalancing::least_request) {
        reader.error_here("warm-up is only possible with ROUND_ROBIN and LEAST_REQUEST");
    }
    out.locality = read_locality_lb(reader);
    return out;
}

}  // namespace orlop::control
