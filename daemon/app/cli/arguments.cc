#include "daemon/app/cli/arguments.h"

#include "daemon/app/cli/commands.h"
#include "daemon/app/version.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <sstream>

namespace orlop::app::cli {
namespace {

// Everything a command line can say; lives while it is parsed and its command runs.
struct Wishes {
    Session session;
    std::string output = "table";
    std::function<int()> command;
    FileOptions apply;
    DeleteOptions remove;
    GetOptions get;
    AnalyzeOptions analyze;
    CheckOptions check;
    KernelOptions uninstall;
    StatusOptions status;
    bool wait = false;
    std::string table;
    LogOptions log;
    LogsOptions logs;
    std::string request_id;
    LabUpOptions up;
    LabExecOptions exec;
    LabScaleOptions scale;
    LabLabelOptions label;
    LabMeshOptions mesh;
    LabWaitOptions lab_wait;
};

template <class Command> void on(CLI::App* sub, Wishes& wishes, Command command) {
    sub->callback([&wishes, command] { wishes.command = command; });
    sub->fallthrough();  // -n, -o, --socket also after the command
}

void declare_objects(CLI::App& app, Wishes& w) {
    auto* apply = app.add_subcommand("apply", "create or change objects from YAML");
    apply->add_option("-f,--filename", w.apply.files, "file, or - for standard input")
        ->required()
        ->allow_extra_args(false);
    apply->add_option("--dry-run", w.apply.dry_run, "server: check only, write nothing")
        ->check(CLI::IsMember({"none", "server"}));
    on(apply, w, [&w] { return run_apply(w.session, w.apply); });

    auto* convert = app.add_subcommand("convert", "print v1alpha2 objects as current ones");
    convert->add_option("-f,--filename", w.apply.files, "file, or - for standard input")
        ->required()
        ->allow_extra_args(false);
    on(convert, w, [&w] { return run_convert(w.session, w.apply); });

    auto* remove = app.add_subcommand("delete", "delete objects: -f FILE, or KIND NAME");
    remove->add_option("-f,--filename", w.remove.files, "file, or - for standard input")
        ->allow_extra_args(false);
    remove->add_option("object", w.remove.words, "KIND NAME, or KIND/NAME");
    on(remove, w, [&w] { return run_delete(w.session, w.remove); });

    auto* get = app.add_subcommand("get", "list objects of a kind, or show one");
    get->add_option("object", w.get.words, "KIND [NAME], or KIND/NAME; `all` for every kind")
        ->required();
    get->add_flag("-A,--all-namespaces", w.get.all_namespaces, "of every namespace");
    on(get, w, [&w] { return run_get(w.session, w.get); });

    auto* describe = app.add_subcommand("describe", "an object with its status and findings");
    describe->add_option("object", w.get.words, "KIND NAME, or KIND/NAME")->required();
    on(describe, w, [&w] { return run_describe(w.session, w.get); });

    auto* analyze = app.add_subcommand("analyze", "look for mistakes, in files or in force");
    analyze->add_option("files", w.analyze.files, "YAML files; none: what orlopd has");
    analyze
        ->add_option("--failure-threshold",
                     w.analyze.failure_threshold,
                     "exit 79 from this severity on: info, warning, error")
        ->transform(CLI::IsMember({"info", "warning", "error"}, CLI::ignore_case));
    on(analyze, w, [&w] { return run_analyze(w.session, w.analyze); });
}

void declare_kernel_options(CLI::App* sub, KernelOptions& kernel) {
    sub->add_option("--instance", kernel.instance, "name of the orlopd instance");
    sub->add_option("--bpffs", kernel.bpffs, "directory of its pins");
    sub->add_option("--cgroup", kernel.cgroup, "cgroup v2 directory it captures");
    sub->add_option("--state-dir", kernel.state_dir, "its state directory");
}

void declare_daemon(CLI::App& app, Wishes& w) {
    auto* check = app.add_subcommand("check", "is this machine, and its orlopd, as it should be?");
    check->add_flag("--pre", w.check.pre, "only what orlopd needs before it starts");
    declare_kernel_options(check, w.check.kernel);
    on(check, w, [&w] { return run_check(w.session, w.check); });

    auto* status = app.add_subcommand("status", "one orlopd at a glance");
    status->add_flag("--wait", w.wait, "until it is ready and every pod is enrolled");
    status->add_option("--timeout", w.status.wait_seconds, "longest wait in seconds (60)")
        ->check(CLI::Range(1, 3600));
    on(status, w, [&w] {
        int longest = w.status.wait_seconds > 0 ? w.status.wait_seconds : 60;
        w.status.wait_seconds = w.wait ? longest : 0;
        return run_status(w.session, w.status);
    });

    auto* config = app.add_subcommand("config", "tables in force: workloads, routes, ...");
    config->alias("proxy-config")->alias("pc");
    config
        ->add_option(
            "table", w.table, "workloads, routes, destinations, endpoints, policies, certs")
        ->required()
        ->check(CLI::IsMember(
            {"workloads", "routes", "destinations", "endpoints", "policies", "certs"}));
    on(config, w, [&w] { return run_config(w.session, w.table); });

    auto* log = app.add_subcommand("log", "show or set log levels: [COMPONENT] LEVEL");
    log->add_option("words", w.log.words, "LEVEL, or COMPONENT LEVEL");
    on(log, w, [&w] { return run_log(w.session, w.log); });

    auto* logs = app.add_subcommand("logs", "recent access-log lines of a pod or workload");
    logs->add_option("pod",
                     w.logs.pod,
                     "POD or KIND/NAME, as in deployment/shop; NAMESPACE/ may stand in front")
        ->required();
    logs->add_flag("-f,--follow", w.logs.follow, "go on printing");
    on(logs, w, [&w] { return run_logs(w.session, w.logs); });

    auto* explain = app.add_subcommand("explain", "why a request went the way it did");
    explain->add_option("request-id", w.request_id, "value of x-request-id")->required();
    on(explain, w, [&w] { return run_explain(w.session, w.request_id); });

    auto* uninstall = app.add_subcommand("uninstall", "remove all that orlopd left in the kernel");
    declare_kernel_options(uninstall, w.uninstall);
    on(uninstall, w, [&w] { return run_uninstall(w.session, w.uninstall); });

    on(app.add_subcommand("version", "versions of orlopctl and orlopd"), w, [&w] {
        return run_version(w.session);
    });
}

void declare_lab_up(CLI::App* lab, Wishes& w) {
    auto* up = lab->add_subcommand("up", "start a lab");
    up->add_option("-f,--filename", w.up.files, "YAML to apply at once; several -f")
        ->allow_extra_args(false);
    up->add_option("--nodes", w.up.nodes, "nodes, each with its own orlopd")
        ->check(CLI::Range(1, 2));
    up->add_option("--images", w.up.images, "lab file: images to commands");
    up->add_option("--apps-dir", w.up.apps_dir, "first in the PATH of pods");
    up->add_option("--orlopd", w.up.orlopd, "the orlopd to run");
    up->add_flag("--no-mesh", w.up.no_mesh, "no orlopd");
    up->add_flag("--ipv4-only", w.up.v4_only, "no IPv6 addresses");
    up->add_option("--wait", w.up.wait_seconds, "seconds for pods to be ready; 0: no wait")
        ->check(CLI::Range(0, 3600));
    on(up, w, [&w] { return run_lab_up(w.session, w.up); });
    on(lab->add_subcommand("down", "remove the lab and every trace of it"), w, [&w] {
        return run_lab_down(w.session);
    });
    on(lab->add_subcommand("ps", "nodes, pods, services, jobs"), w, [&w] {
        return run_lab_ps(w.session);
    });
    on(lab->add_subcommand("supervise", "the lab's own process")->group(""), w, [&w] {
        return run_lab_supervise(w.session);
    });
}

void declare_lab_pods(CLI::App* lab, Wishes& w) {
    auto* exec = lab->add_subcommand("exec", "run a command: exec [--node] POD -- COMMAND");
    exec->add_flag("--node", w.exec.on_node, "POD is a node: outside every pod");
    exec->add_option("pod", w.exec.pod, "pod, deployment or job")->required();
    exec->add_option("command", w.exec.command, "program and its arguments")->required();
    exec->positionals_at_end();
    on(exec, w, [&w] { return run_lab_exec(w.session, w.exec); });

    auto* logs = lab->add_subcommand("logs", "output of a pod's containers");
    logs->add_option("pod", w.logs.pod, "pod, deployment or job")->required();
    logs->add_flag("-f,--follow", w.logs.follow, "go on printing");
    on(logs, w, [&w] { return run_lab_logs(w.session, w.logs); });

    auto* scale = lab->add_subcommand("scale", "number of pods: scale deployment/NAME");
    scale->add_option("deployment", w.scale.object, "deployment/NAME")->required();
    scale->add_option("--replicas", w.scale.replicas, "how many")
        ->required()
        ->check(CLI::Range(0, 250));
    on(scale, w, [&w] { return run_lab_scale(w.session, w.scale); });

    for (const char* name : {"label", "annotate"}) {
        auto target =
            std::string_view(name) == "label" ? LabMetadata::labels : LabMetadata::annotations;
        auto* sub = lab->add_subcommand(name, "KIND NAME key=value key- ...");
        sub->add_option("words", w.label.words, "KIND NAME, then changes")->required();
        on(sub, w, [&w, target] {
            w.label.target = target;
            return run_lab_label(w.session, w.label);
        });
    }
}

void declare_lab(CLI::App& app, Wishes& w) {
    auto* lab = app.add_subcommand("lab", "processes as pods on this machine");
    lab->require_subcommand(1);
    lab->fallthrough();
    lab->add_option("--state-dir", w.session.lab_dir, "where the lab lives");
    lab->add_option("--prefix", w.session.lab_prefix, "of its namespaces and cgroups");
    declare_lab_up(lab, w);
    declare_lab_pods(lab, w);

    auto* apply = lab->add_subcommand("apply", "as orlopctl apply, to the lab");
    apply->add_option("-f,--filename", w.apply.files, "file, or -")
        ->required()
        ->allow_extra_args(false);
    auto at_lab = [&w] { w.session.socket = w.session.lab_dir + "/nodes/n1/orlopd.sock"; };
    on(apply, w, [&w, at_lab] {
        at_lab();
        return run_apply(w.session, w.apply);
    });
    auto* remove = lab->add_subcommand("delete", "as orlopctl delete, from the lab");
    remove->add_option("-f,--filename", w.remove.files, "file, or -")->allow_extra_args(false);
    remove->add_option("object", w.remove.words, "KIND NAME, or KIND/NAME");
    on(remove, w, [&w, at_lab] {
        at_lab();
        return run_delete(w.session, w.remove);
    });

    auto* mesh = lab->add_subcommand("mesh", "start, stop, restart or kill orlopd");
    mesh->add_option("action", w.mesh.action, "start, stop, restart, kill")
        ->required()
        ->check(CLI::IsMember({"start", "stop", "restart", "kill"}));
    mesh->add_option("node", w.mesh.node, "n1 or n2; none: all");
    on(mesh, w, [&w] { return run_lab_mesh(w.session, w.mesh); });

    auto* wait = lab->add_subcommand("wait", "until every pod is ready, or job/NAME has ended");
    wait->add_option("object", w.lab_wait.object, "job/NAME; none: every pod");
    wait->add_option("--timeout", w.lab_wait.seconds, "seconds")->check(CLI::Range(0, 86400));
    on(wait, w, [&w] { return run_lab_wait(w.session, w.lab_wait); });
}

int usage_error(CLI::App& app, const CLI::ParseError& error, Session& session) {
    if (error.get_exit_code() == 0) {  // help or version: data
        std::ostringstream out;
        std::ostringstream talk;
        app.exit(error, out, talk);
        fmt::print(session.out, "{}", out.str());
        return exit_code::ok;
    }
    fmt::print(session.err, "orlopctl: {}; see orlopctl --help\n", error.what());
    return exit_code::usage;
}

}  // namespace

int run(const std::vector<std::string>& arguments, Session session) {
    Wishes wishes;
    wishes.session = std::move(session);
    CLI::App app{"orlopctl: orlop at work, and what to tell it", "orlopctl"};
    app.set_version_flag("--version", version);
    app.require_subcommand(1);
    app.add_option("--socket",
                   wishes.session.socket,
                   "admin socket (ORLOP_SOCKET, /run/orlop/orlopd.sock, else the lab's n1)");
    app.add_option("-o,--output", wishes.output, "table, json or yaml")
        ->check(CLI::IsMember({"table", "json", "yaml"}));
    app.add_option("-n,--namespace", wishes.session.ns, "namespace");
    declare_objects(app, wishes);
    declare_daemon(app, wishes);
    declare_lab(app, wishes);
    try {
        std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
        app.parse(reversed);
    } catch (const CLI::ParseError& error) {
        return usage_error(app, error, wishes.session);
    }
    wishes.session.output = wishes.output == "json"   ? Output::json
                            : wishes.output == "yaml" ? Output::yaml
                                                      : Output::table;
    int code = wishes.command ? wishes.command() : exit_code::usage;
    std::fflush(wishes.session.out);
    return code;
}

}  // namespace orlop::app::cli
