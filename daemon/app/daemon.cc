#include "daemon/app/daemon.h"

#include "daemon/app/api.h"
#include "daemon/app/thread_priority.h"
#include "daemon/app/version.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/proxy/outside.h"
#include "daemon/runtime/uring_backend.h"

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

namespace orlop::app {
namespace {

// From a change of a file to the refresh that reads it: who writes one file writes others, and a
// refresh that takes long had better see them all.
constexpr Duration settle_time_min = std::chrono::microseconds(500);
constexpr Duration settle_time_max = std::chrono::milliseconds(5);
constexpr Duration trim_after = std::chrono::milliseconds(200);
// Housekeeping counts quarters of a second, and wakes for each only while pods leave.
constexpr Duration quarter = std::chrono::milliseconds(250);
constexpr unsigned quarters_per_second = 4;
constexpr unsigned series_quarters = 60 * quarters_per_second;
constexpr unsigned renewal_quarters = 2 * quarters_per_second;

std::size_t usable_cpus() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        return 1;
    }
    return static_cast<std::size_t>(std::max(1, CPU_COUNT(&cpus)));
}

Result<void> make_directory(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error || ::access(path.c_str(), W_OK) != 0) {
        return fail(ErrorKind::system,
                    "cannot write to directory " + path + ": " +
                        (error ? error.message() : std::strerror(errno)) +
                        "; create it or choose another with the flag");
    }
    return {};
}

// The errno, 0 when it listens. The kernel frees the rings of an orlopd that ended, and with them
// its listening sockets, some moments after the process is gone: a port in use is asked for again
// before it counts as somebody else's. Nothing tells when that has happened.
int bind_and_listen(int socket, const sockaddr* address, unsigned length) {
    constexpr int tries = 200;
    constexpr int pause_ms = 10;
    bool bound = false;  // listen() too may find the port in use
    for (int left = tries; left > 0; --left) {
        bound = bound || ::bind(socket, address, length) == 0;
        if (bound && ::listen(socket, 128) == 0) {
            return 0;
        }
        if (errno != EADDRINUSE) {
            return errno;
        }
        ::poll(nullptr, 0, pause_ms);
    }
    return EADDRINUSE;
}

UniqueFd signal_descriptor() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC));
}

// Reading much leaves holes in the heap where the text was.
void give_back_after(Duration refresh) {
    if (refresh > trim_after) {
        ::malloc_trim(0);
    }
}

}  // namespace

Daemon::Daemon(DaemonOptions options) : options_(std::move(options)) {}
Daemon::~Daemon() = default;

int Daemon::run(DaemonOptions options) {
    ::signal(SIGPIPE, SIG_IGN);
    Daemon daemon(std::move(options));
    daemon.signals_ = signal_descriptor();
    start_log_writer({daemon.options_.log_format, daemon.options_.access_log});
    (void)set_log_level("all", daemon.options_.log_level);
    if (auto started = daemon.start(); !started) {
        stop_log_writer();
        std::fprintf(stderr, "orlopd: %s\n", started.error().context.c_str());
        std::fflush(stderr);
        ::_exit(1);  // half-built parts have nothing to say to anyone
    }
    become_control_thread();  // not before: whoever waits for the start has nothing else to wait
                              // for
    daemon.loop_->run();
    daemon.stop();
    ::_exit(0);
}

Result<void> Daemon::start() {
    runtime::UringOptions ring;
    ring.entries = 256;
    ring.completions = 1024;
    ring.buffers = 16;
    auto backend = runtime::create_uring_backend(ring, nullptr);
    if (!backend) {
        return std::unexpected(backend.error());
    }
    loop_ = std::make_unique<runtime::Loop>(std::move(*backend));
    scope_ = std::make_unique<runtime::Scope>(*loop_);
    changed_ = std::make_unique<runtime::Event>(*loop_);
    for (const auto& path : {options_.state_dir, options_.config_dir, options_.sandbox_dir}) {
        if (auto made = make_directory(path); !made) {
            return made;
        }
    }
    if (auto started = start_control(); !started) {
        return started;
    }
    if (auto started = start_kernel_side(); !started) {
        return started;
    }
    if (auto listening = start_listeners(); !listening) {
        return listening;
    }
    start_background();
    publish();
    enrolment_->forget_unclaimed();
    ready_ = true;
    log_line(LogLevel::info,
             "app",
             "orlopd {} serves node {} with {} cores, generation {}",
             version,
             options_.node_name,
             cores_->size(),
             control_->snapshot()->generation());
    return {};
}

Result<void> Daemon::start_control() {
    auto control = ControlPlane::open(options_);
    if (!control) {
        return std::unexpected(control.error());
    }
    control_ = std::move(*control);
    auto resolver = DnsResolver::open(*loop_, *scope_, {options_.dns_servers}, [this] {
        control_->after_dns();
        wake();
    });
    if (!resolver) {
        return std::unexpected(resolver.error());
    }
    resolver_ = std::move(*resolver);
    control_->look_in(&resolver_->answers());
    Instant begin = monotonic_now();
    control_->refresh();
    give_back_after(monotonic_now() - begin);
    return {};
}

Result<void> Daemon::start_kernel_side() {
    std::size_t count =
        options_.cores > 0 ? static_cast<std::size_t>(options_.cores) : usable_cpus();
    metrics_ = std::make_unique<telemetry::Metrics>(count);
    runtime::UringNotes notes;
    auto cores = CoreSet::start(count, *metrics_, &notes);
    if (!cores) {
        return std::unexpected(cores.error());
    }
    cores_ = std::move(*cores);
    for (const auto& note : notes.lines) {
        log_line(LogLevel::warning, "runtime", "{}", note);
    }
    auto certificates =
        Certificates::open(options_, control_->snapshot()->mesh().trust_domain, *cores_);
    if (!certificates) {
        return std::unexpected(certificates.error());
    }
    certificates_ = std::move(*certificates);
    tls_contexts_ = std::make_unique<TlsContexts>(*cores_, *certificates_);
    gateways_ = std::make_unique<GatewayListeners>(*cores_);
    datapath::Options kernel;
    kernel.instance = options_.instance;
    kernel.bpffs_dir = options_.bpffs;
    kernel.cgroup_path = options_.cgroup;
    kernel.state_dir = options_.state_dir;
    auto datapath = datapath::Datapath::open(kernel);
    if (!datapath) {
        return std::unexpected(datapath.error());
    }
    datapath_ = std::move(*datapath);
    heartbeat_ = std::make_unique<Heartbeat>(*cores_, *datapath_);
    trace_exporter_ = std::make_unique<TraceExporter>(*loop_, host_sockets_, cores_->spans());
    return {};
}

Result<void> Daemon::start_listeners() {
    api_ = std::make_unique<Api>(*this);
    server_ = std::make_unique<admin::HttpServer>(*loop_, *scope_, *api_);
    enrolment_ = std::make_unique<Enrolment>(
        *loop_, *scope_, *cores_, *datapath_, [this](int fd) { server_->serve(fd); });
    if (auto listening = listen_unix(); !listening) {
        return listening;
    }
    for (const auto& address : {options_.metrics_address, options_.readiness_address}) {
        if (address.empty()) {
            continue;
        }
        if (auto listening = listen_on(address); !listening) {
            return listening;
        }
    }
    return {};
}

Result<void> Daemon::listen_on(const std::string& text) {
    auto address = SocketAddress::parse(text);
    if (!address) {
        return std::unexpected(address.error());
    }
    sockaddr_storage storage;
    unsigned length = address->to_sockaddr(storage);
    UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int one = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (int error = bind_and_listen(fd.get(), reinterpret_cast<sockaddr*>(&storage), length)) {
        return fail(ErrorKind::system,
                    "cannot listen on " + text + ": " + std::strerror(error) +
                        "; free the port or choose another with --metrics-address or "
                        "--readiness-address ('' turns it off)");
    }
    listeners_.push_back(std::make_unique<net::Listener>(
        *loop_, std::move(fd), [this](int accepted) { server_->serve(accepted); }));
    listeners_.back()->start();
    return {};
}

Result<void> Daemon::listen_unix() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (options_.socket.size() >= sizeof address.sun_path) {
        return fail(ErrorKind::invalid_input, "--socket: the path is longer than 107 bytes");
    }
    std::filesystem::path path(options_.socket);
    if (auto made = make_directory(path.parent_path().string()); !made) {
        return made;
    }
    options_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        return fail(ErrorKind::system,
                    "another orlopd already serves " + options_.socket +
                        "; stop it or choose another --socket");
    }
    ::unlink(options_.socket.c_str());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    mode_t before = ::umask(0177);  // mode 0600 from the first moment
    int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::umask(before);
    if (bound != 0 || ::listen(fd.get(), 64) != 0) {
        return fail_errno(errno, "cannot listen on " + options_.socket);
    }
    listeners_.push_back(std::make_unique<net::Listener>(
        *loop_, std::move(fd), [this](int accepted) { server_->serve(accepted); }));
    listeners_.back()->start();
    return {};
}

void Daemon::start_background() {
    scope_->spawn(&Daemon::watch_directory, this, &control_->config());
    scope_->spawn(&Daemon::watch_directory, this, &control_->sandboxes());
    scope_->spawn(&Daemon::run_refresh, this);
    scope_->spawn(&Daemon::run_housekeeping, this);
    scope_->spawn(&Daemon::run_signals, this);
    scope_->spawn(&TraceExporter::run, trace_exporter_.get());
}

// --- from a change of files to what is in force ---

runtime::Task<void> Daemon::watch_directory(Daemon* self, control::ConfigDirectory* directory) {
    while (true) {
        runtime::Operation readable;
        readable.code = runtime::OpCode::poll;
        readable.fd = directory->watch_fd();
        readable.length = POLLIN;
        if (co_await runtime::Await(*self->loop_, readable) < 0) {
            co_return;
        }
        directory->drain_events();
        self->changed_->set();
    }
}

runtime::Task<void> Daemon::run_refresh(Daemon* self) {
    Duration last = settle_time_max;  // that a refresh took
    Instant ended = monotonic_now();
    while (true) {
        co_await *self->changed_;
        // Refreshes take half of the time at most; after a rest a change waits for its siblings
        // alone.
        Duration rest = last - (monotonic_now() - ended);
        co_await runtime::Sleep(*self->loop_, std::clamp(rest, settle_time_min, settle_time_max));
        if (self->stopping_) {
            co_return;  // the loop runs on for the spans alone
        }
        Instant begin = monotonic_now();
        self->refresh();
        ended = monotonic_now();
        last = ended - begin;
        give_back_after(last);
    }
}

void Daemon::refresh() {
    if (control_->refresh()) {
        publish();
    }
}

void Daemon::exclude(const model::Snapshot& snapshot) {
    auto excluded = datapath_->set_mesh_exclusions(exclusions_of(snapshot.mesh().exclusions));
    if (!excluded) {
        log_line(LogLevel::error, "datapath", "exclusions: {}", excluded.error().context);
    }
}

void Daemon::publish() {
    const auto& snapshot = control_->snapshot();
    resolver_->want(control_->dns_names());
    std::set<SpiffeId> identities;
    for (const auto& workload : snapshot->local_workloads()) {
        if (workload->enrol_wanted) {
            identities.insert(workload->identity);
        }
    }
    if (const auto& gateway = snapshot->gateway_workload()) {
        identities.insert(gateway->identity);
    }
    for (const auto& uid : enrolment_->captured()) {  // leaving pods still speak
        if (const auto* workload = snapshot->find_workload_uid(uid)) {
            identities.insert(workload->identity);
        }
    }
    certificates_->ensure(identities, snapshot->mesh());
    tls_contexts_->follow(*snapshot);
    trace_exporter_->configure(snapshot->mesh().tracing);
    cores_->tell_all([snapshot](proxy::ProxyCore& core) { core.publish(snapshot); });
    tls_contexts_->drop_unused();
    gateways_->reconcile(*snapshot);
    exclude(*snapshot);
    enrolment_->reconcile(*snapshot);
    write_node_status();
}

// Tells other nodes which pods of ours take HBONE.
void Daemon::write_node_status() {
    std::string text =
        "apiVersion: orlop.dev/v1\nkind: NodeStatus\nmetadata:\n  name: " + options_.node_name +
        "\nspec:\n  node: " + options_.node_name + "\n  redirected:";
    auto redirected = enrolment_->redirected();
    text += redirected.empty() ? " []\n" : "\n";
    for (const auto& uid : redirected) {
        text += "    - \"" + uid + "\"\n";
    }
    if (text == written_status_) {
        return;
    }
    std::string path = options_.config_dir + "/status-" + options_.node_name + ".yaml";
    std::string temporary = options_.config_dir + "/.status-" + options_.node_name + ".tmp";
    std::ofstream file(temporary, std::ios::trunc);
    file << text;
    file.close();
    if (!file || ::rename(temporary.c_str(), path.c_str()) != 0) {
        log_line(LogLevel::error, "control", "cannot write {}: {}", path, std::strerror(errno));
        return;
    }
    written_status_ = text;
}

runtime::Task<void> Daemon::run_housekeeping(Daemon* self) {
    unsigned quarters = 0;
    bool pods_leave = false;
    while (true) {
        const unsigned step = pods_leave ? 1 : quarters_per_second - quarters % quarters_per_second;
        co_await runtime::Sleep(*self->loop_, step * quarter);
        quarters += step;
        if (self->stopping_) {
            co_return;
        }
        pods_leave = self->enrolment_->advance_leaving();
        if (pods_leave) {
            self->write_node_status();
        }
        if (self->control_->needs_polling() && quarters % quarters_per_second == 0) {
            self->changed_->set();
        }
        if (quarters % series_quarters == 0) {
            self->retire_series();
        }
        self->control_->drop_unused();
        if (quarters % renewal_quarters == 0) {
            self->certificates_->renew_due();
            self->tls_contexts_->renew(*self->control_->snapshot());
            self->gateways_->reconcile(*self->control_->snapshot());  // retries failed ports
            if (self->control_->credential_files_changed()) {
                self->changed_->set();
            }
            if (self->datapath_->exclusions_unwritten()) {
                self->exclude(*self->control_->snapshot());
            }
            if (self->enrolment_->wants_retry()) {
                self->enrolment_->reconcile(*self->control_->snapshot());
            }
        }
    }
}

// Series of pods and destinations that are gone go some time after them (telemetry/metrics.h).
void Daemon::retire_series() {
    const model::Snapshot& snapshot = *control_->snapshot();
    auto live = std::make_shared<telemetry::LiveNames>();
    for (const auto& workload : snapshot.workloads()) {
        live->workloads.insert(workload->ns + "/" + workload->workload_name);
    }
    if (const auto& gateway = snapshot.gateway_workload()) {
        live->workloads.insert(gateway->ns + "/" + gateway->workload_name);
    }
    for (const auto& service : snapshot.services()) {
        live->services.insert(service->host);
    }
    for (std::string_view outside : {proxy::passthrough_cluster, proxy::blackhole_cluster}) {
        live->services.insert(std::string(outside));
    }
    for (const auto& destination : snapshot.destinations()) {
        live->clusters.insert(destination->cluster_name);
    }
    cores_->tell_all(
        [live](proxy::ProxyCore& core) { core.metrics().retire(*live, core.loop().now()); });
}

// --- the end ---

runtime::Task<void> Daemon::run_signals(Daemon* self) {
    while (true) {
        signalfd_siginfo info{};
        runtime::Operation read;
        read.code = runtime::OpCode::read;
        read.fd = self->signals_.get();
        read.buffer = &info;
        read.length = sizeof info;
        if (co_await runtime::Await(*self->loop_, read) < 0) {
            co_return;
        }
        if (info.ssi_signo == SIGHUP) {
            self->changed_->set();
            continue;
        }
        log_line(LogLevel::info,
                 "app",
                 "stopping: no new connections, {} s for requests in flight",
                 self->options_.drain_seconds);
        self->ready_ = false;
        self->loop_->stop();
        co_return;
    }
}

// Stop order: accepts, requests (to the deadline), cores, beat, kernel state kept by its pins,
// spans.
void Daemon::stop() {
    stopping_ = true;
    auto begun = std::chrono::steady_clock::now();
    std::chrono::seconds drain(options_.drain_seconds);
    cores_->drain_and_stop(drain);
    heartbeat_.reset();
    if (auto closed = datapath_->close(datapath::Pins::keep); !closed) {
        log_line(LogLevel::error, "datapath", "{}", closed.error().context);
    }
    finish_spans(drain - (std::chrono::steady_clock::now() - begun));
    ::unlink(options_.socket.c_str());
    log_line(LogLevel::info, "app", "stopped");
    stop_log_writer();
}

// Within what is left of the time to drain, or a second when requests took all of it.
void Daemon::finish_spans(Duration left) {
    constexpr Duration least = std::chrono::seconds(1);
    constexpr Duration most = std::chrono::milliseconds(limits::trace_export_ms_max);
    trace_exporter_->finish(std::clamp(left, least, most), [this] { loop_->stop(); });
    loop_->run();
}

}  // namespace orlop::app
