#include "daemon/app/options.h"

#include "daemon/app/version.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <unistd.h>

namespace orlop::app {
namespace {

constexpr int exit_usage = 64;

std::string host_name() {
    char name[256] = {};
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

void declare(CLI::App& app, DaemonOptions& o, std::string& format, std::string& level) {
    app.add_option("--node-name", o.node_name, "name of this node (default: NODE_NAME, hostname)")
        ->envname("NODE_NAME");
    app.add_option("--config-dir", o.config_dir, "directory of YAML objects to watch");
    app.add_option("--sandbox-dir", o.sandbox_dir, "directory of PodSandbox files of this node");
    app.add_option("--state-dir", o.state_dir, "where the CA and the journal are kept");
    app.add_option("--socket", o.socket, "Unix socket of the admin API");
    app.add_option("--cgroup", o.cgroup, "cgroup v2 directory to capture (default: its root)");
    app.add_option("--bpffs", o.bpffs, "directory for pins on bpffs");
    app.add_option("--instance", o.instance, "name of this instance: [a-z0-9-]{1,32}");
    app.add_option("--ca-dir", o.ca_dir, "directory of the embedded CA (default: STATE/ca)");
    app.add_option("--ca-plugin-dir",
                   o.ca_plugin_dir,
                   "directory with ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem");
    app.add_option("--access-log", o.access_log, "file for access log lines ('' for none)");
    app.add_option(
        "--metrics-address", o.metrics_address, "address:port of /metrics ('' for none)");
    app.add_option(
        "--readiness-address", o.readiness_address, "address:port of /healthz/ready ('' for none)");
    app.add_option("--dns-servers",
                   o.dns_servers,
                   "address[:port],... that look names up (default: those of /etc/resolv.conf)");
    app.add_option("--cores", o.cores, "data cores (0: one per CPU)")->check(CLI::Range(0, 256));
    app.add_option("--drain-seconds", o.drain_seconds, "longest wait for requests at stop")
        ->envname("TERMINATION_GRACE_PERIOD_SECONDS")
        ->check(CLI::Range(0, 3600));
    app.add_option("--svid-ttl", o.svid_ttl_seconds, "life of workload certificates, seconds")
        ->check(CLI::Range(60, 90 * 24 * 3600));
    app.add_option("--log-format", format, "text or json")
        ->envname("LOG_FORMAT")
        ->check(CLI::IsMember({"text", "json"}));
    app.add_option("--log-level", level, "trace, debug, info, warning, error, off");
}

}  // namespace

ParsedOptions parse_daemon_options(int argc, char** argv) {
    ParsedOptions parsed;
    std::string format = "text";
    std::string level = "info";
    CLI::App app{"orlopd: the node's mesh proxy"};
    app.set_version_flag("--version", version);
    declare(app, parsed.options, format, level);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        int code = app.exit(error);
        parsed.exit_code = code == 0 ? 0 : exit_usage;
        return parsed;
    }
    auto parsed_level = parse_log_level(level);
    if (!parsed_level) {
        std::fprintf(stderr, "orlopd: --log-level: %s\n", parsed_level.error().context.c_str());
        parsed.exit_code = exit_usage;
        return parsed;
    }
    parsed.options.log_level = *parsed_level;
    parsed.options.log_format = format == "json" ? LogFormat::json : LogFormat::text;
    if (parsed.options.node_name.empty()) {
        parsed.options.node_name = host_name();
    }
    if (parsed.options.ca_dir.empty()) {
        parsed.options.ca_dir = parsed.options.state_dir + "/ca";
    }
    return parsed;
}

}  // namespace orlop::app
