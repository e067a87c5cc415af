// Mirror: the copy of one request, on its way to where nobody waits for the answer
// (istio-semantics §2).
//
// The exchange makes a MirrorJob when its first try starts, feeds it the body as it arrives, and
// forgets it. run_mirror() is spawned into the core's scope: one try, bounded by the route's
// timeout, its response read and discarded. Nothing of it reaches the primary: a mirror that is
// slower than limits::mirror_body_bytes_max of body is given up and counted. One core.
//
//     auto job = std::make_shared<MirrorJob>(core, ...);
//     core.scope().spawn(&run_mirror, &core, job);
//     job->feed(payload); ...; job->finish();      // or job->abandon() when the caller left
#pragma once

#include "daemon/codec/h1/head.h"
#include "daemon/decide/http_version.h"
#include "daemon/proxy/core.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::proxy {

struct UpstreamConnection;
class DestinationState;

class MirrorJob {
public:
    explicit MirrorJob(runtime::Loop& loop)
        : changed_(loop), deadline_(&MirrorJob::on_deadline, this) {}

    // Set by the exchange before the job runs.
    PinnedPtr pinned;
    LocalPodPtr pod;
    model::WorkloadPtr caller;
    const model::Destination* destination = nullptr;  // of the pinned snapshot
    std::string head;                                 // complete, with the empty line
    h1::Method method = h1::Method::get;
    h1::Framing framing = h1::Framing::none;
    IpAddress peer;
    decide::HttpVersion version = decide::HttpVersion::http1;  // of the primary's caller
    std::optional<Duration> timeout;
    telemetry::RequestRecord record;

    // By the exchange, while it lives.
    void feed(std::string_view payload);
    void finish();   // the body is complete
    void abandon();  // no more of the body will come
    // Ends it now: the node stops.
    void cut();

private:
    friend runtime::Task<void> run_mirror(ProxyCore* core, std::shared_ptr<MirrorJob> job);
    runtime::Task<void> exchange_once(ProxyCore& core);
    runtime::Task<bool> send_body(UpstreamConnection& connection);
    runtime::Task<bool> discard_response(UpstreamConnection& connection);
    void fail(std::string_view flag, std::string_view details);
    static void on_deadline(void* self) { static_cast<MirrorJob*>(self)->cut(); }

    std::string pending_;  // of the body, not yet sent
    bool complete_ = false;
    bool abandoned_ = false;
    bool cut_ = false;
    bool reusable_ = false;
    runtime::Event changed_;
    runtime::Timer deadline_;
    net::Interrupt interrupt_;
    net::Stream* stream_ = nullptr;  // the upstream's, while there is one
    std::shared_ptr<DestinationState> state_;
};
using MirrorJobPtr = std::shared_ptr<MirrorJob>;

runtime::Task<void> run_mirror(ProxyCore* core, MirrorJobPtr job);

// host-shadow, host-shadow:80; an IPv6 literal stays as it is.
std::string shadow_host(std::string_view authority);

// The mirrors of a core that are under way, so that a stop can cut them.
class LiveMirrors {
public:
    bool full() const { return jobs_.size() >= limits::mirrors_in_flight_per_core_max; }
    std::size_t size() const { return jobs_.size(); }
    void add(MirrorJob* job) { jobs_.push_back(job); }
    void remove(MirrorJob* job) { std::erase(jobs_, job); }
    void cut_all() {
        for (MirrorJob* job : jobs_) {
            job->cut();
        }
    }

private:
    std::vector<MirrorJob*> jobs_;
};

}  // namespace orlop::proxy
