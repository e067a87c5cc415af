// config: the Snapshot's tables, in istioctl's columns where it has them.
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

std::string joined(const json& list) {
    std::string out;
    for (const json& one : list) {
        out += (out.empty() ? "" : ",") + one.get<std::string>();
    }
    return out;
}

std::string object_name(const json& source) {
    return source.is_object() ? source.value("name", "") + "." + source.value("namespace", "") : "";
}

std::string milliseconds(const json& value) {
    return value.is_number() ? fmt::format("{}ms", value.get<double>()) : "";
}

std::string destinations_of(const json& route) {
    std::string out;
    bool single = route["destinations"].size() == 1;
    for (const json& one : route["destinations"]) {
        std::string cluster = one.value("cluster", "");
        out += (out.empty() ? "" : ", ") +
               (cluster.empty() ? "unknown " + one.value("wanted", "") : cluster);
        out += single ? "" : fmt::format(" {}", one.value("weight", 0));
    }
    return out;
}

Table workloads(const json& rows) {
    Table table(
        {"NAMESPACE", "POD NAME", "ADDRESS", "NODE", "PROTOCOL", "MTLS", "ENROLLED", "IDENTITY"});
    for (const json& row : rows) {
        table.add({row.value("namespace", ""),
                   row.value("pod", ""),
                   joined(row["addresses"]),
                   row.value("node", ""),
                   row.value("protocol", ""),
                   row.value("mtls", ""),
                   row.value("enrolled", false) ? "yes" : "no",
                   row.value("identity", "")});
    }
    return table;
}

Table routes(const json& rows) {
    Table table(
        {"NAME", "VHOST NAME", "MATCH", "TIMEOUT", "RETRIES", "DESTINATION", "VIRTUAL SERVICE"});
    for (const json& host : rows) {
        for (const json& route : host["routes"]) {
            std::string match;
            for (const json& one : route["matches"]) {
                match += (match.empty() ? "" : " | ") + one.get<std::string>();
            }
            table.add({std::to_string(host.value("port", 0)),
                       fmt::format("{}:{}", host.value("host", ""), host.value("port", 0)),
                       match.empty() ? "/*" : match,
                       milliseconds(route["timeoutMs"]),
                       std::to_string(route["retries"].value("attempts", 0)),
                       destinations_of(route),
                       object_name(route["source"])});
        }
    }
    return table;
}

Table destinations(const json& rows) {
    Table table({"SERVICE FQDN",
                 "PORT",
                 "SUBSET",
                 "PROTOCOL",
                 "LOAD BALANCER",
                 "ENDPOINTS",
                 "DESTINATION RULE"});
    for (const json& row : rows) {
        std::string subset = row.value("subset", "");
        table.add({row.value("host", ""),
                   std::to_string(row.value("port", 0)),
                   subset.empty() ? "-" : subset,
                   row.value("protocol", ""),
                   row.value("loadBalancing", ""),
                   std::to_string(row.value("endpoints", 0)),
                   object_name(row["source"])});
    }
    return table;
}

// "OK", or "FAILED (503, 503; back in 27 s)".
std::string outlier_text(const json& row) {
    const json outlier = row.value("outlier", json::object());
    std::string text = outlier.value("check", "OK");
    if (text == "FAILED") {
        text += fmt::format(" ({}; back in {:.0f} s)",
                            outlier.value("lastErrors", ""),
                            outlier.value("backInMs", 0.0) / 1000);
    }
    return text;
}

Table endpoints(const json& rows) {
    Table table({"ENDPOINT", "STATUS", "OUTLIER CHECK", "PROTOCOL", "POD", "CLUSTER"});
    for (const json& row : rows) {
        table.add({row.value("endpoint", ""),
                   row.value("status", ""),
                   outlier_text(row),
                   row.value("protocol", ""),
                   row.value("pod", ""),
                   row.value("cluster", "")});
    }
    return table;
}

Table policies(const json& rows) {
    Table table({"NAMESPACE",
                 "POD NAME",
                 "ENROLLED",
                 "MTLS",
                 "PORT LEVEL",
                 "AUTHORIZATION",
                 "NETWORK POLICY"});
    for (const json& row : rows) {
        std::string ports;
        for (const auto& [port, mode] : row["portLevelMtls"].items()) {
            ports += (ports.empty() ? "" : ",") + port + "=" + mode.get<std::string>();
        }
        std::string authorization;
        for (const auto& [action, names] : row.value("authorization", json::object()).items()) {
            for (const json& name : names) {
                authorization +=
                    (authorization.empty() ? "" : " ") + action + ":" + name.get<std::string>();
            }
        }
        table.add({row.value("namespace", ""),
                   row.value("pod", ""),
                   row.value("enrolled", false) ? "yes" : "no",
                   row.value("mtls", ""),
                   ports,
                   authorization.empty() ? "-" : authorization,
                   row.value("networkPolicy", false) ? "yes" : "no"});
    }
    return table;
}

Table certificates(const json& rows) {
    Table table({"IDENTITY", "TYPE", "NOT BEFORE", "NOT AFTER", "RENEWAL", "SERIAL"});
    for (const json& row : rows) {
        table.add({row.value("identity", ""),
                   row.value("type", ""),
                   row.value("notBefore", ""),
                   row.value("notAfter", ""),
                   row.value("renewAt", ""),
                   row.value("serial", "")});
    }
    return table;
}

Table table_of(const std::string& name, const json& rows) {
    if (name == "workloads") {
        return workloads(rows);
    }
    if (name == "routes") {
        return routes(rows);
    }
    if (name == "destinations") {
        return destinations(rows);
    }
    if (name == "endpoints") {
        return endpoints(rows);
    }
    return name == "policies" ? policies(rows) : certificates(rows);
}

}  // namespace

int run_config(Session& session, const std::string& name) {
    auto body = fetch(session, "/config/" + name);
    if (!body) {
        return tell_error(session, body.error());
    }
    auto parsed = parse_json(*body);
    if (!parsed) {
        return tell_error(session, parsed.error());
    }
    const json& rows = (*parsed)[name];
    if (!print_structured(session, rows)) {
        fmt::print(session.out, "{}", table_of(name, rows).render());
    }
    return exit_code::ok;
}

}  // namespace orlop::app::cli
