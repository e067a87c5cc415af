// check and uninstall: what concerns the machine itself.
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"
#include "daemon/datapath/datapath.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

datapath::Options datapath_options(const KernelOptions& kernel) {
    datapath::Options options;
    options.instance = kernel.instance;
    options.bpffs_dir = kernel.bpffs;
    options.cgroup_path = kernel.cgroup;
    options.state_dir = kernel.state_dir;
    return options;
}

json row(std::string name, std::string level, std::string detail, std::string remedy) {
    return {{"name", std::move(name)},
            {"level", std::move(level)},
            {"detail", std::move(detail)},
            {"remedy", std::move(remedy)}};
}

void add_kernel(const KernelOptions& kernel, json& rows) {
    for (const auto& check : datapath::Datapath::check(datapath_options(kernel))) {
        const char* level = check.level == datapath::CheckLevel::ok        ? "ok"
                            : check.level == datapath::CheckLevel::warning ? "warning"
                                                                           : "failure";
        rows.push_back(row(check.name, level, check.detail, check.remedy));
    }
}

void add_daemon(const std::string& socket, json& rows) {
    auto answer = ask(socket, "GET", "/status");
    if (!answer) {
        rows.push_back(row("orlopd answers", "failure", answer.error().context, ""));
        return;
    }
    auto status = parse_json(answer->body);
    if (answer->status != 200 || !status) {
        rows.push_back(row("orlopd answers", "failure", refusal_of(*answer), "look at its log"));
        return;
    }
    std::string node = status->value("node", "");
    bool ready = status->value("ready", false);
    rows.push_back(row("orlopd on " + node,
                       ready ? "ok" : "failure",
                       fmt::format("version {}, generation {}",
                                   status->value("version", ""),
                                   status->value("generation", 0)),
                       ready ? "" : "it starts or stops: try again, look at its log"));
    const json& pods = (*status)["pods"];
    std::string waiting;
    for (const json& pod : pods["pending"]) {
        waiting += (waiting.empty() ? "" : ", ") + pod.value("pod", "") + " (" +
                   pod.value("reason", "") + ")";
    }
    rows.push_back(row(
        "pods of " + node + " enrolled",
        waiting.empty() ? "ok" : "failure",
        waiting.empty()
            ? fmt::format("{} of {} local pods", pods.value("enrolled", 0), pods.value("local", 0))
            : waiting,
        waiting.empty() ? "" : "orlopctl status shows each"));
    int errors = (*status)["findings"].value("error", 0);
    rows.push_back(row("configuration of " + node,
                       errors == 0 ? "ok" : "warning",
                       errors == 0 ? "no errors" : fmt::format("{} errors", errors),
                       errors == 0 ? "" : "orlopctl analyze lists them"));
}

int print_checks(Session& session, const json& rows) {
    bool failed = false;
    for (const json& one : rows) {
        failed = failed || one.value("level", "") == "failure";
    }
    if (!print_structured(session, rows)) {
        for (const json& one : rows) {
            std::string level = one.value("level", "");
            std::string detail = one.value("detail", "");
            std::string remedy = one.value("remedy", "");
            fmt::print(session.out,
                       "{} {}{}{}\n",
                       level == "ok"        ? "√"
                       : level == "warning" ? "‼"
                                            : "×",
                       one.value("name", ""),
                       detail.empty() ? "" : ": ",
                       detail);
            if (!remedy.empty()) {
                fmt::print(session.out, "    {}\n", remedy);
            }
        }
        fmt::print(session.err, "{}\n", failed ? "Some checks failed." : "All is well.");
    }
    return failed ? exit_code::failed : exit_code::ok;
}

}  // namespace

int run_check(Session& session, const CheckOptions& options) {
    json rows = json::array();
    if (options.pre || !find_target(session).in_lab) {
        add_kernel(options.kernel, rows);
    }
    if (!options.pre) {
        for (const std::string& socket : find_sockets(session)) {
            add_daemon(socket, rows);
        }
    }
    return print_checks(session, rows);
}

int run_uninstall(Session& session, const KernelOptions& options) {
    if (::geteuid() != 0) {
        return tell_error(session, "uninstall changes the kernel's state: run it with sudo");
    }
    Target target = find_target(session);
    if (auto answer = ask(target.socket, "GET", "/status"); answer) {
        auto status = parse_json(answer->body);
        if (status && status->is_object() &&
            status->value("instance", "default") == options.instance) {
            return tell_error(session,
                              "orlopd still serves " + target.socket +
                                  "; stop it first, then uninstall");
        }
    }
    auto removed = datapath::Datapath::uninstall(datapath_options(options));
    if (!removed) {
        return tell_error(session, removed.error());
    }
    json rows = json(*removed);
    if (!print_structured(session, rows)) {
        for (const std::string& line : *removed) {
            fmt::print(session.out, "removed {}\n", line);
        }
        if (removed->empty()) {
            fmt::print(session.err, "Nothing of instance {} was left.\n", options.instance);
        }
    }
    return exit_code::ok;
}

}  // namespace orlop::app::cli
