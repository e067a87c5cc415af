// The commands of orlopctl, after their arguments were read. Each returns an exit code; arguments.h
// fills the option structs and calls them.
#pragma once

#include "daemon/app/cli/session.h"

#include <string>
#include <vector>

namespace orlop::app::cli {

struct FileOptions {
    std::vector<std::string> files;  // "-" is standard input
    std::string dry_run;             // "none", "server"
};
int run_apply(Session& session, const FileOptions& options);

int run_convert(Session& session, const FileOptions& options);

struct DeleteOptions {
    std::vector<std::string> files;
    std::vector<std::string> words;  // KIND NAME..., or KIND/NAME
};
int run_delete(Session& session, const DeleteOptions& options);

struct GetOptions {
    std::vector<std::string> words;  // KIND [NAME], or KIND/NAME
    bool all_namespaces = false;
};
int run_get(Session& session, const GetOptions& options);
int run_describe(Session& session, const GetOptions& options);

struct AnalyzeOptions {
    std::vector<std::string> files;             // empty: what orlopd has
    std::string failure_threshold = "warning";  // info, warning, error
};
int run_analyze(Session& session, const AnalyzeOptions& options);

struct KernelOptions {
    std::string instance = "default";
    std::string bpffs;
    std::string cgroup;
    std::string state_dir = "/var/lib/orlop";
};
struct CheckOptions {
    bool pre = false;  // only what must hold before orlopd starts
    KernelOptions kernel;
};
int run_check(Session& session, const CheckOptions& options);
int run_uninstall(Session& session, const KernelOptions& options);

struct StatusOptions {
    int wait_seconds = 0;  // 0: do not wait
};
int run_status(Session& session, const StatusOptions& options);

int run_config(Session& session, const std::string& table);

struct LogOptions {
    std::vector<std::string> words;  // none, LEVEL, or COMPONENT LEVEL
};
int run_log(Session& session, const LogOptions& options);

struct LogsOptions {
    std::string pod;
    bool follow = false;
};
int run_logs(Session& session, const LogsOptions& options);

int run_explain(Session& session, const std::string& id);
int run_version(Session& session);

// `KIND NAME`, `KIND/NAME` or `KIND`; an error when there are more words.
struct KindAndName {
    std::string kind;
    std::string name;
};
Result<KindAndName> split_object_words(const std::vector<std::string>& words);

// --- orlopctl lab ---

struct LabUpOptions {
    std::vector<std::string> files;
    int nodes = 1;
    std::string images;
    std::string apps_dir;
    std::string orlopd;
    bool no_mesh = false;
    bool v4_only = false;
    int wait_seconds = 60;  // for pods to be ready; 0: no wait
};
int run_lab_up(Session& session, const LabUpOptions& options);
int run_lab_down(Session& session);
int run_lab_ps(Session& session);
struct LabExecOptions {
    std::string pod;
    std::vector<std::string> command;
    bool on_node = false;
};
int run_lab_exec(Session& session, const LabExecOptions& options);
int run_lab_logs(Session& session, const LogsOptions& options);
struct LabScaleOptions {
    std::string object;
    int replicas = 1;
};
int run_lab_scale(Session& session, const LabScaleOptions& options);
enum class LabMetadata : unsigned char { labels, annotations };
struct LabLabelOptions {
    std::vector<std::string> words;  // KIND NAME changes..., or KIND/NAME changes...
    LabMetadata target = LabMetadata::labels;
};
int run_lab_label(Session& session, const LabLabelOptions& options);
struct LabMeshOptions {
    std::string action;  // start, stop, restart, kill
    std::string node;    // empty: all
};
int run_lab_mesh(Session& session, const LabMeshOptions& options);
struct LabWaitOptions {
    std::string object;  // empty: every pod; job/NAME: that job
    int seconds = 60;
};
int run_lab_wait(Session& session, const LabWaitOptions& options);
int run_lab_supervise(Session& session);

}  // namespace orlop::app::cli
