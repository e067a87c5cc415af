// status and version: each orlopd at a glance.
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"
#include "daemon/app/version.h"
#include "daemon/base/clock.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <poll.h>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

constexpr int wait_interval_ms = 100;

Result<json> fetch_status(const std::string& socket) {
    auto answer = ask(socket, "GET", "/status");
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (answer->status != 200) {
        return fail(ErrorKind::internal, refusal_of(*answer));
    }
    return parse_json(answer->body);
}

Result<json> fetch_all(Session& session) {
    json nodes = json::array();
    for (const std::string& socket : find_sockets(session)) {
        auto status = fetch_status(socket);
        if (!status) {
            return status;
        }
        nodes.push_back(std::move(*status));
    }
    return nodes;
}

bool settled(const json& nodes) {
    for (const json& node : nodes) {
        if (!node.value("ready", false) || !node["pods"]["pending"].empty()) {
            return false;
        }
    }
    return true;
}

std::string findings_text(const json& count) {
    std::string out;
    for (const char* severity : {"error", "warning", "info"}) {
        int number = count.value(severity, 0);
        if (number > 0) {
            out += fmt::format("{}{} {}{}",
                               out.empty() ? "" : ", ",
                               number,
                               severity,
                               number > 1 && std::string_view(severity) != "info" ? "s" : "");
        }
    }
    return out.empty() ? "none" : out;
}

void print_table(Session& session, const json& nodes) {
    Table table({"NODE",
                 "READY",
                 "VERSION",
                 "GENERATION",
                 "CORES",
                 "PODS",
                 "CONNECTIONS",
                 "MEMORY",
                 "FINDINGS",
                 "CA EXPIRES"});
    for (const json& node : nodes) {
        const json& pods = node["pods"];
        table.add({node.value("node", ""),
                   node.value("ready", false) ? "yes" : "no",
                   node.value("version", ""),
                   std::to_string(node.value("generation", 0ULL)),
                   std::to_string(node.value("cores", 0)),
                   fmt::format("{}/{} enrolled", pods.value("enrolled", 0), pods.value("local", 0)),
                   std::to_string(node.value("connections", 0ULL)),
                   fmt::format("{:.1f} MB", node.value("memoryBytes", 0.0) / 1e6),
                   findings_text(node["findings"]),
                   node.value("caNotAfter", "")});
    }
    fmt::print(session.out, "{}", table.render());
    for (const json& node : nodes) {
        for (const json& port : node.value("gateways", json::array())) {
            std::string failure = port.value("failure", "");
            fmt::print(session.out,
                       "{}: gateway {}\n",
                       node.value("node", ""),
                       failure.empty() ? "listens on " + port.value("address", "") : failure);
        }
        for (const json& pod : node["pods"]["pending"]) {
            fmt::print(session.out,
                       "{}: {} is not enrolled: {}\n",
                       node.value("node", ""),
                       pod.value("pod", ""),
                       pod.value("reason", ""));
        }
        for (const json& pod : node["pods"]["leaving"]) {
            fmt::print(session.out,
                       "{}: {} leaves the mesh; its live connections go on\n",
                       node.value("node", ""),
                       pod.get<std::string>());
        }
    }
}

}  // namespace

int run_status(Session& session, const StatusOptions& options) {
    Instant deadline = monotonic_now() + std::chrono::seconds(options.wait_seconds);
    auto nodes = fetch_all(session);
    while (options.wait_seconds > 0 && (!nodes || !settled(*nodes)) && monotonic_now() < deadline) {
        ::poll(nullptr, 0, wait_interval_ms);
        nodes = fetch_all(session);
    }
    if (!nodes) {
        return tell_error(session, nodes.error());
    }
    if (!print_structured(session, *nodes)) {
        print_table(session, *nodes);
    }
    return options.wait_seconds > 0 && !settled(*nodes)
               ? tell_error(session, "not everything is ready; see above")
               : exit_code::ok;
}

int run_version(Session& session) {
    json versions = {{"orlopctl", version}};
    for (const std::string& socket : find_sockets(session)) {
        if (auto status = fetch_status(socket); status && status->is_object()) {
            versions["orlopd " + status->value("node", "")] = status->value("version", "");
        }
    }
    if (!print_structured(session, versions)) {
        for (const auto& [name, value] : versions.items()) {
            fmt::print(session.out, "{}: {}\n", name, value.get<std::string>());
        }
    }
    return exit_code::ok;
}

}  // namespace orlop::app::cli
