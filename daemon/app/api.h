// Api: what orlopd answers over its Unix socket, on 15020 and on 15021, also inside pods.
//
// The Unix socket (mode 0600) may do everything; the TCP ports answer only metrics, readiness and
// `/quitquitquit` (harmlessly, for Jobs written for sidecars). Answers are JSON unless noted;
// a refusal is {"error": "one line: cause and remedy"} with 4xx or 5xx. Control thread.
//
// | request | answer |
// |---|---|
// | GET /status | node, version, generation, pods, connections, memory, findings |
// | GET /objects?kind=&namespace=&name= | status, findings, file:line and YAML of each |
// | POST /apply?file=&namespace=&dry-run= | body YAML: written, in force on every core, results |
// | POST /delete?file=&namespace= (body YAML) or ?kind=&namespace=&name= | as apply |
// | POST /refresh | the directory as it is now is in force on every core |
// | GET /config/{workloads,routes,destinations,endpoints,policies,certs} | the Snapshot's tables |
// | GET /analyze | findings |
// | GET /log, POST /log?component=&level= | levels |
// | GET /logs?pod=NS/NAME&since=NS | recent access-log lines |
// | GET /explain?id= | text |
// | GET /metrics, /healthz/ready, POST /quitquitquit | text |
#pragma once

#include "daemon/admin/http_server.h"
#include "daemon/admin/line_ring.h"
#include "daemon/app/api_apply.h"

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace orlop::app {

class Daemon;

class Api final : public admin::RequestHandler {
public:
    explicit Api(Daemon& daemon);
    runtime::Task<admin::Response> handle(const admin::Request& request) override;

private:
    admin::Response public_answer(const admin::Request& request);
    std::string metrics();
    admin::Response look_up(const admin::Request& request);
    admin::Response config(const std::string& table);
    admin::Response set_level(const admin::Request& request);
    runtime::Task<admin::Response> change(const admin::Request& request);
    runtime::Task<admin::Response> status();
    runtime::Task<admin::Response> explain(const std::string& id);
    runtime::Task<admin::Response> logs(const admin::Request& request);
    // Reads the directories, publishes, and returns when every core has the result.
    runtime::Task<void> bring_into_force();
    void keep_recent_lines();
    std::string why_pending(const model::Workload& workload) const;
    nlohmann::json pods_json();

    Daemon& daemon_;
    WallTime started_;
    std::vector<std::shared_ptr<admin::LineRing>> recent_lines_;  // one per core, used there
};

}  // namespace orlop::app
