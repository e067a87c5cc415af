// Api: what orlopd answers over its Unix socket, on 15020 and on 15021, also inside pods.
//
// The Unix socket (mode 0600) may do everything; the TCP ports answer only metrics, readiness and
// `/quitquitquit` (harmlessly, for Jobs written for sidecars). Control thread.
#pragma once

#include <string>

#include "daemon/admin/http_server.h"

namespace orlop::app {

class Daemon;

class Api final : public admin::RequestHandler {
public:
    explicit Api(Daemon& daemon) : daemon_(daemon) {}
    runtime::Task<admin::Response> handle(const admin::Request& request) override;

private:
    admin::Response public_answer(const admin::Request& request);
    std::string metrics();

    Daemon& daemon_;
};

}  // namespace orlop::app
