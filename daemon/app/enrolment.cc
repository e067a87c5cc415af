#include "daemon/app/enrolment.h"

#include "daemon/base/log.h"

namespace orlop::app {
namespace {

// SYNs in flight when capture ends still find their listener for this long.
constexpr Duration leave_grace = std::chrono::seconds(1);
constexpr Duration retry_pause = std::chrono::seconds(1);

bool wanted(const model::Workload& workload) {
    return workload.local && workload.enrol_wanted && !workload.host_network &&
           !workload.netns.empty() && !workload.addresses.empty();
}

std::vector<datapath::PortRange> ranges_of(const std::vector<std::uint16_t>& ports) {
    std::vector<datapath::PortRange> out;
    for (std::uint16_t port : ports) {
        out.push_back({port, port});
    }
    return out;
}

datapath::PodPolicy policy_of(const model::Workload& workload, const model::MeshConfig& mesh) {
    bool strict = workload.strict_anywhere();
    datapath::PodPolicy policy;
    policy.inbound_when_gone = strict ? datapath::WhenGone::closed : datapath::WhenGone::open;
    policy.outbound_when_gone = strict || !mesh.permissive_fail_open ? datapath::WhenGone::closed
                                                                     : datapath::WhenGone::open;
    policy.exclusions = exclusions_of(workload.exclusions);
    return policy;
}

bool same_policy(const datapath::PodPolicy& a, const datapath::PodPolicy& b) {
    return a.inbound_when_gone == b.inbound_when_gone &&
           a.outbound_when_gone == b.outbound_when_gone && a.inbound == b.inbound &&
           a.exclusions == b.exclusions;
}

}  // namespace

datapath::Exclusions exclusions_of(const model::CaptureExclusions& from) {
    return {ranges_of(from.outbound_ports), from.outbound_ranges, ranges_of(from.inbound_ports)};
}

Enrolment::Enrolment(runtime::Loop& loop,
                     runtime::Scope& scope,
                     CoreSet& cores,
                     datapath::Datapath& datapath,
                     LocalHandler on_local)
    : loop_(loop), scope_(scope), cores_(cores), datapath_(datapath),
      on_local_(std::move(on_local)) {}

Enrolment::~Enrolment() = default;

void Enrolment::reconcile(const model::Snapshot& snapshot) {
    update_failed_ = false;
    for (auto pod = pods_.begin(); pod != pods_.end();) {
        const model::Workload* workload = snapshot.find_workload_uid(pod->first);
        bool exists = workload != nullptr && workload->local && !workload->netns.empty();
        if (!exists || workload->netns != pod->second.netns) {
            gone(pod->first, pod->second);
            pod = pods_.erase(pod);
            continue;
        }
        if (!wanted(*workload) && pod->second.stage == Stage::enrolled) {
            leave(pod->first, pod->second);
        }
        ++pod;
    }
    for (const auto& workload : snapshot.local_workloads()) {
        if (wanted(*workload)) {
            enrol(snapshot, *workload);
        }
    }
    if (auto written = datapath_.write_states(); !written) {
        update_failed_ = true;
        log_line(LogLevel::error, "datapath", "{}", written.error().context);
    }
}

void Enrolment::enrol(const model::Snapshot& snapshot, const model::Workload& workload) {
    auto policy = policy_of(workload, snapshot.mesh());
    auto known = pods_.find(workload.uid);
    if (known != pods_.end() && known->second.stage == Stage::enrolled) {
        Pod& pod = known->second;
        if (!same_policy(pod.policy, policy)) {
            auto updated = datapath_.update(workload.uid, policy);
            if (updated) {
                pod.policy = policy;
            } else {
                update_failed_ = true;
                log_line(LogLevel::error, "datapath", "{}: {}", pod.label, updated.error().context);
            }
        }
        return;
    }
    if (known != pods_.end()) {  // the label came back while it was leaving
        return take_back(workload.uid, known->second, policy);
    }
    if (auto again = failed_.find(workload.uid);
        again != failed_.end() && loop_.backend().now() < again->second.again) {
        return;
    }
    Instant begun = loop_.backend().now();
    Pod pod;
    pod.label = workload.ns + "/" + workload.name;
    pod.policy = policy;
    pod.netns = workload.netns;
    pod.home = cores_.home_of(workload.uid);
    pod.source = snapshot.mesh().transparent_source ? datapath::SourceAddress::caller
                                                    : datapath::SourceAddress::pod;
    auto refuse = [&](const Error& error) {
        log_line(LogLevel::error, "datapath", "cannot enrol {}: {}", pod.label, error.context);
        failed_[workload.uid] = {loop_.backend().now() + retry_pause, error.context};
    };
    auto prepared =
        datapath_.prepare({workload.uid, workload.netns, workload.addresses, pod.source, policy});
    if (!prepared) {
        return refuse(prepared.error());
    }
    auto network = std::make_shared<const PodNetworkHandle>(prepared->network);
    cores_.tell_all(
        [uid = workload.uid, network](proxy::ProxyCore& core) { core.add_pod(uid, network); });
    auto listeners = datapath_.open_listeners(workload.uid);
    if (!listeners) {
        return refuse(listeners.error());
    }
    hand_over(workload.uid, pod, *listeners);
    if (auto active = datapath_.activate(workload.uid); !active) {
        drop_local(pod);
        return refuse(active.error());
    }
    auto took =
        std::chrono::duration_cast<std::chrono::microseconds>(loop_.backend().now() - begun);
    log_line(LogLevel::info, "datapath", "enrolled {} in {} us", pod.label, took.count());
    failed_.erase(workload.uid);
    pods_.emplace(workload.uid, std::move(pod));
}

void Enrolment::take_back(const std::string& uid, Pod& pod, const datapath::PodPolicy& policy) {
    auto active = datapath_.update(uid, policy);
    if (active) {
        active = datapath_.activate(uid);
    }
    if (!active) {
        update_failed_ = true;
        log_line(LogLevel::error, "datapath", "{}: {}", pod.label, active.error().context);
        return;
    }
    pod.stage = Stage::enrolled;
    --leaving_;
    pod.policy = policy;
}

void Enrolment::hand_over(const std::string& uid, Pod& pod, datapath::Listeners& listeners) {
    if (listeners.local.valid()) {
        pod.local = std::make_unique<net::Listener>(loop_, std::move(listeners.local), on_local_);
        pod.local->start();
    }
    auto fds = std::make_shared<proxy::PodListeners>();
    fds->outbound = std::move(listeners.outbound);
    fds->inbound = std::move(listeners.inbound);
    cores_.tell(pod.home,
                [uid, fds](proxy::ProxyCore& core) { core.open_pod(uid, std::move(*fds)); });
}

void Enrolment::leave(const std::string& uid, Pod& pod) {
    if (auto left = datapath_.begin_leave(uid); !left) {
        log_line(LogLevel::error, "datapath", "{}: {}", pod.label, left.error().context);
    }
    pod.stage = Stage::leaving;
    ++leaving_;
    pod.leaving_since = loop_.backend().now();
    pod.asked = false;
    log_line(LogLevel::info, "datapath", "{} leaves the mesh; live connections go on", pod.label);
}

bool Enrolment::advance_leaving() {
    if (leaving_ == 0) {
        return false;
    }
    for (auto& [uid, pod] : pods_) {
        if (pod.stage != Stage::leaving) {
            continue;
        }
        if (pod.asked || loop_.backend().now() - pod.leaving_since < leave_grace) {
            continue;
        }
        pod.asked = true;
        cores_.tell(pod.home, [this, uid = uid](proxy::ProxyCore& core) {
            bool idle = core.live_connections(uid) == 0;
            (void)loop_.post([this, uid, idle] {
                auto found = pods_.find(uid);
                if (found == pods_.end() || found->second.stage != Stage::leaving) {
                    return;
                }
                found->second.asked = false;
                if (idle) {
                    finish_leaving(uid);
                }
            });
        });
    }
    return true;
}

void Enrolment::finish_leaving(const std::string& uid) {
    auto found = pods_.find(uid);
    cores_.tell_all([uid](proxy::ProxyCore& core) { core.close_pod(uid); });
    drop_local(found->second);
    if (auto finished = datapath_.finish_leave(uid); !finished) {
        log_line(
            LogLevel::error, "datapath", "{}: {}", found->second.label, finished.error().context);
    }
    log_line(LogLevel::info, "datapath", "{} has left the mesh", found->second.label);
    pods_.erase(found);
    --leaving_;
}

void Enrolment::gone(const std::string& uid, Pod& pod) {
    leaving_ -= pod.stage == Stage::leaving ? 1 : 0;
    cores_.tell_all([uid](proxy::ProxyCore& core) { core.close_pod(uid); });
    drop_local(pod);
    if (auto forgotten = datapath_.forget(uid); !forgotten) {
        log_line(LogLevel::error, "datapath", "{}: {}", pod.label, forgotten.error().context);
    }
    log_line(LogLevel::info, "datapath", "{} is gone", pod.label);
}

namespace {

runtime::Task<void> stop_listener(std::unique_ptr<net::Listener> listener) {
    co_await listener->stop();
}

}  // namespace

void Enrolment::drop_local(Pod& pod) {
    if (pod.local) {
        scope_.spawn(&stop_listener, std::move(pod.local));
    }
}

runtime::Task<void> Enrolment::stop_listeners() {
    for (auto& [uid, pod] : pods_) {
        if (pod.local) {
            co_await pod.local->stop();
            pod.local.reset();
        }
    }
}

void Enrolment::forget_unclaimed() {
    if (auto removed = datapath_.remove_unclaimed(); !removed) {
        log_line(
            LogLevel::error, "datapath", "orphans of an earlier run: {}", removed.error().context);
    }
}

std::vector<std::string> Enrolment::captured() const {
    std::vector<std::string> out;
    for (const auto& [uid, pod] : pods_) {
        out.push_back(uid);
    }
    return out;
}

std::string Enrolment::failure_of(const std::string& uid) const {
    auto found = failed_.find(uid);
    return found == failed_.end() ? std::string() : found->second.reason;
}

bool Enrolment::is_leaving(const std::string& uid) const {
    auto found = pods_.find(uid);
    return found != pods_.end() && found->second.stage == Stage::leaving;
}

std::vector<std::string> Enrolment::redirected() const {
    std::vector<std::string> out;
    for (const auto& [uid, pod] : pods_) {
        if (pod.stage == Stage::enrolled) {
            out.push_back(uid);
        }
    }
    return out;
}

}  // namespace orlop::app
