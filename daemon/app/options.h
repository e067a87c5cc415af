// Options of orlopd: flags, then environment, then defaults. Errors name the flag and what would be
// right.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"

#include <string>

namespace orlop::app {

struct DaemonOptions {
    std::string node_name;                             // --node-name, NODE_NAME, else the hostname
    std::string config_dir = "/etc/orlop/config";      // watched YAML
    std::string sandbox_dir = "/run/orlop/sandboxes";  // PodSandbox files of the CNI or the lab
    std::string state_dir = "/var/lib/orlop";          // CA, journal
    std::string socket = "/run/orlop/orlopd.sock";     // admin API, mode 0600
    std::string cgroup;  // cgroup v2 directory; empty: the mount's root
    std::string bpffs;   // empty: /sys/fs/bpf/orlop-<instance>
    std::string instance = "default";
    std::string ca_dir;                               // empty: <state_dir>/ca
    std::string ca_plugin_dir;                        // Istio's cacerts files instead of an own CA
    std::string access_log = "/dev/stdout";           // path; empty: none
    std::string metrics_address = "127.0.0.1:15020";  // node-wide metrics; empty: none
    std::string readiness_address = "127.0.0.1:15021";
    std::string dns_servers;  // address[:port],...; empty: those of /etc/resolv.conf
    LogFormat log_format = LogFormat::text;
    LogLevel log_level = LogLevel::info;
    int cores = 0;  // 0: one per CPU this process may use
    int drain_seconds = limits::drain_seconds_default;
    int svid_ttl_seconds = 24 * 3600;
};

// Exit code for main when parsing ended the program (help, version, error); empty: go on.
struct ParsedOptions {
    DaemonOptions options;
    int exit_code = -1;  // -1: run
};
ParsedOptions parse_daemon_options(int argc, char** argv);

}  // namespace orlop::app
