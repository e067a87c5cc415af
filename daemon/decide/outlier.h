// Outlier: which endpoint is taken out of rotation, and until when (istio-semantics §6).
//
// Pure but for the atomics of model/health.h, which all cores of the node share: no lock, and a
// success at an endpoint without evidence writes nothing. The caller reads the clock. An ejection
// ends at a sweep; whoever ejected calls sweep() every `interval` until it says `done`.
//
//     OutlierVerdict verdict = record_try({policy, cell, verdicts, endpoints}, outcome, now);
//     if (verdict.ejected) { log; sweep(policy, cell, verdicts, now) from now + interval on }
#pragma once

#include "daemon/decide/retry.h"
#include "daemon/model/destination.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::decide {

struct WatchedEndpoint {
    const model::OutlierDetection& policy;
    model::EndpointHealth& cell;
    model::DestinationHealth& verdicts;
    std::size_t endpoints = 0;  // of the destination
};

enum class OutlierTrigger : unsigned char {
    none,
    consecutive_5xx,
    consecutive_gateway,
    consecutive_local_origin,
};
std::string_view trigger_name(OutlierTrigger trigger);

struct OutlierVerdict {
    OutlierTrigger trigger = OutlierTrigger::none;  // a threshold was met
    bool ejected = false;   // false with a trigger: maxEjectionPercent, or out of rotation already
    bool overflow = false;  // maxEjectionPercent forbade it
    Duration duration{};
};

OutlierVerdict record_try(const WatchedEndpoint& endpoint, const TryOutcome& outcome, Instant now);

// One more may be ejected: at most `percent` of all, but one always.
bool may_eject(std::uint32_t ejected, std::size_t endpoints, std::uint32_t percent);
// base * multiplier, at most limits::ejection_ms_max or the base when that is longer.
Duration ejection_time(Duration base, std::uint32_t multiplier);

enum class Swept : unsigned char {
    waiting,   // the ejection goes on
    returned,  // it has ended now
    calmer,    // in rotation for an interval: the next ejection is shorter again
    done,      // nothing is left to be swept
};
Swept sweep(model::EndpointHealth& cell, model::DestinationHealth& verdicts, Instant now);

// So few endpoints are in rotation that all are used: minHealthPercent.
bool panics(std::uint32_t min_health_percent, std::size_t in_rotation, std::size_t endpoints);

// "503, 503, connect failure": the last errors of an endpoint, newest first.
std::string last_errors_text(const model::EndpointHealth& cell);

}  // namespace orlop::decide
