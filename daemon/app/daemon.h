// Daemon: orlopd's parts, built in order and taken down in reverse. Main thread = control thread.
//
// run() returns the exit code: 0 after an orderly stop, 1 when a part could not start (one line on
// stderr names cause and remedy).
#pragma once

#include "daemon/admin/http_server.h"
#include "daemon/app/certificates.h"
#include "daemon/app/control_plane.h"
#include "daemon/app/core_set.h"
#include "daemon/app/dns.h"
#include "daemon/app/enrolment.h"
#include "daemon/app/gateway_listeners.h"
#include "daemon/app/heartbeat.h"
#include "daemon/app/options.h"
#include "daemon/app/tls_contexts.h"
#include "daemon/app/trace_exporter.h"
#include "daemon/datapath/datapath.h"
#include "daemon/runtime/event.h"
#include "daemon/runtime/scope.h"

#include <memory>

namespace orlop::app {

class Api;

class Daemon {
public:
    static int run(DaemonOptions options);
    ~Daemon();

    // For the admin API.
    const DaemonOptions& options() const { return options_; }
    ControlPlane& control() { return *control_; }
    CoreSet& cores() { return *cores_; }
    Certificates& certificates() { return *certificates_; }
    Enrolment& enrolment() { return *enrolment_; }
    GatewayListeners& gateways() { return *gateways_; }
    datapath::Datapath& datapath() { return *datapath_; }
    telemetry::Metrics& metrics() { return *metrics_; }
    const DnsResolver& resolver() const { return *resolver_; }
    runtime::Loop& loop() { return *loop_; }
    bool ready() const { return ready_; }
    // Something in the directories changed: refresh soon.
    void wake() { changed_->set(); }
    void refresh();

private:
    explicit Daemon(DaemonOptions options);
    Result<void> start();
    Result<void> start_control();
    Result<void> start_kernel_side();
    Result<void> start_listeners();
    Result<void> listen_on(const std::string& address);
    Result<void> listen_unix();
    void start_background();
    void publish();
    void exclude(const model::Snapshot& snapshot);  // what the whole mesh excludes
    void write_node_status();
    void stop();
    void finish_spans(Duration left);
    void retire_series();

    static runtime::Task<void> watch_directory(Daemon* self, control::ConfigDirectory* directory);
    static runtime::Task<void> run_refresh(Daemon* self);
    static runtime::Task<void> run_housekeeping(Daemon* self);
    static runtime::Task<void> run_signals(Daemon* self);

    DaemonOptions options_;
    std::unique_ptr<runtime::Loop> loop_;
    std::unique_ptr<runtime::Scope> scope_;
    std::unique_ptr<runtime::Event> changed_;
    std::unique_ptr<telemetry::Metrics> metrics_;
    std::unique_ptr<ControlPlane> control_;
    std::unique_ptr<DnsResolver> resolver_;
    std::unique_ptr<CoreSet> cores_;
    std::unique_ptr<Certificates> certificates_;
    std::unique_ptr<TlsContexts> tls_contexts_;
    std::unique_ptr<GatewayListeners> gateways_;
    std::unique_ptr<datapath::Datapath> datapath_;
    std::unique_ptr<Heartbeat> heartbeat_;
    std::unique_ptr<Enrolment> enrolment_;
    HostSockets host_sockets_;
    std::unique_ptr<TraceExporter> trace_exporter_;
    std::unique_ptr<Api> api_;
    std::unique_ptr<admin::HttpServer> server_;
    std::vector<std::unique_ptr<net::Listener>> listeners_;
    UniqueFd signals_;
    std::string written_status_;
    bool ready_ = false;
    bool stopping_ = false;
};

}  // namespace orlop::app
