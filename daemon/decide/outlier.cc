#include "daemon/decide/outlier.h"

#include "daemon/base/limits.h"

#include <algorithm>

namespace orlop::decide {

namespace {

using model::EndpointHealth;

constexpr std::uint16_t failure_codes_from = 1000;  // in EndpointHealth::last_errors

// What a try says about its endpoint. Overflow, our own resets and denials say nothing.
enum class Evidence : unsigned char { none, success, error, gateway_error };
enum class Origin : unsigned char { external, local };

struct Reading {
    Evidence evidence = Evidence::none;
    Origin origin = Origin::external;
    std::uint16_t code = 0;  // as kept in last_errors
};

// As Envoy maps grpc-status onto HTTP.
std::uint16_t http_of_grpc(std::uint32_t status) {
    switch (status) {
    case 0:
        return 200;
    case 1:
        return 499;
    case 3:
    case 9:
    case 11:
        return 400;
    case 4:
        return 504;
    case 5:
        return 404;
    case 6:
    case 10:
        return 409;
    case 7:
        return 403;
    case 8:
        return 429;
    case 12:
        return 501;
    case 14:
        return 503;
    case 16:
        return 401;
    default:
        return 500;
    }
}

Reading read_response(const model::OutlierDetection& policy, const TryOutcome& outcome) {
    const std::uint16_t status =
        outcome.grpc_status ? http_of_grpc(*outcome.grpc_status) : outcome.status;
    Reading reading{Evidence::success, Origin::external, status};
    const bool fails = policy.error_codes.empty() ? status >= 500 && status <= 599
                                                  : std::ranges::find(policy.error_codes, status) !=
                                                        policy.error_codes.end();
    if (fails) {
        reading.evidence =
            status >= 502 && status <= 504 ? Evidence::gateway_error : Evidence::error;
    }
    return reading;
}

// Timeouts count as 504, connect failures and resets as 503.
Reading read_failure(FailureKind failure) {
    switch (failure) {
    case FailureKind::none:
    case FailureKind::overflow:
    case FailureKind::local_reset:
    case FailureKind::denied:  // policy, not the endpoint
        return {};
    default:
        return {Evidence::gateway_error,
                Origin::local,
                static_cast<std::uint16_t>(failure_codes_from + static_cast<unsigned>(failure))};
    }
}

// Written only when it changes: the cell's cache line stays shared while all is well.
void clear(std::atomic<std::uint32_t>& counter) {
    if (counter.load(std::memory_order_relaxed) != 0) {
        counter.store(0, std::memory_order_relaxed);
    }
}

std::uint32_t increase(std::atomic<std::uint32_t>& counter) {
    return counter.fetch_add(1, std::memory_order_relaxed) + 1;
}

bool meets(std::uint32_t count, std::uint32_t threshold) {
    return threshold != 0 && count == threshold;
}

OutlierTrigger
count_external(const model::OutlierDetection& policy, EndpointHealth& cell, Evidence evidence) {
    if (evidence == Evidence::success) {
        clear(cell.consecutive_5xx);
        clear(cell.consecutive_gateway);
        return OutlierTrigger::none;
    }
    auto trigger = OutlierTrigger::none;
    if (evidence == Evidence::gateway_error) {
        if (meets(increase(cell.consecutive_gateway), policy.consecutive_gateway)) {
            trigger = OutlierTrigger::consecutive_gateway;
        }
    } else {
        clear(cell.consecutive_gateway);
    }
    if (meets(increase(cell.consecutive_5xx), policy.consecutive_5xx) &&
        trigger == OutlierTrigger::none) {
        trigger = OutlierTrigger::consecutive_5xx;
    }
    return trigger;
}

OutlierTrigger
count(const model::OutlierDetection& policy, EndpointHealth& cell, const Reading& reading) {
    if (!policy.split_local_origin) {
        return count_external(policy, cell, reading.evidence);
    }
    if (reading.origin == Origin::external) {
        clear(cell.consecutive_local);  // it was reached
        return count_external(policy, cell, reading.evidence);
    }
    return meets(increase(cell.consecutive_local), policy.consecutive_local_origin)
               ? OutlierTrigger::consecutive_local_origin
               : OutlierTrigger::none;
}

void note_error(EndpointHealth& cell, std::uint16_t code) {
    const std::uint64_t before = cell.last_errors.load(std::memory_order_relaxed);
    cell.last_errors.store((before << 16) | code, std::memory_order_relaxed);
}

// One more of the destination's places for ejected endpoints; cores compete for them.
bool reserve(const WatchedEndpoint& endpoint) {
    std::uint32_t ejected = endpoint.verdicts.ejected.load();
    do {
        if (!may_eject(ejected, endpoint.endpoints, endpoint.policy.max_ejection_percent)) {
            return false;
        }
    } while (!endpoint.verdicts.ejected.compare_exchange_weak(ejected, ejected + 1));
    return true;
}

void eject(const WatchedEndpoint& endpoint, Instant now, OutlierVerdict& verdict) {
    EndpointHealth& cell = endpoint.cell;
    if (cell.ejected_until.load() != EndpointHealth::in_rotation) {
        return;
    }
    if (!reserve(endpoint)) {
        verdict.overflow = true;
        return;
    }
    const std::uint32_t multiplier = cell.multiplier.load() + 1;
    verdict.duration = ejection_time(endpoint.policy.base_ejection_time, multiplier);
    std::int64_t expected = EndpointHealth::in_rotation;
    const std::int64_t until = (now + verdict.duration).time_since_epoch().count();
    if (!cell.ejected_until.compare_exchange_strong(expected, until)) {
        endpoint.verdicts.ejected.fetch_sub(1);  // another core was faster
        return;
    }
    if (ejection_time(endpoint.policy.base_ejection_time, multiplier + 1) > verdict.duration ||
        multiplier == 1) {
        cell.multiplier.store(multiplier);
    }
    cell.ejections.fetch_add(1);
    endpoint.verdicts.epoch.fetch_add(1);
    verdict.ejected = true;
}

}  // namespace

std::string_view trigger_name(OutlierTrigger trigger) {
    switch (trigger) {
    case OutlierTrigger::none:
        return "";
    case OutlierTrigger::consecutive_5xx:
        return "consecutive5xxErrors";
    case OutlierTrigger::consecutive_gateway:
        return "consecutiveGatewayErrors";
    case OutlierTrigger::consecutive_local_origin:
        return "consecutiveLocalOriginFailures";
    }
    return "";
}

bool may_eject(std::uint32_t ejected, std::size_t endpoints, std::uint32_t percent) {
    return ejected == 0 || 100 * (std::uint64_t{ejected} + 1) <= std::uint64_t{percent} * endpoints;
}

Duration ejection_time(Duration base, std::uint32_t multiplier) {
    const Duration most =
        std::max<Duration>(base, std::chrono::milliseconds(limits::ejection_ms_max));
    const bool beyond = base.count() > 0 && multiplier > most / base;
    return beyond ? most : base * multiplier;
}

OutlierVerdict record_try(const WatchedEndpoint& endpoint, const TryOutcome& outcome, Instant now) {
    OutlierVerdict verdict;
    const Reading reading = outcome.failure == FailureKind::none
                                ? read_response(endpoint.policy, outcome)
                                : read_failure(outcome.failure);
    if (reading.evidence == Evidence::none) {
        return verdict;
    }
    if (reading.evidence != Evidence::success) {
        note_error(endpoint.cell, reading.code);
    }
    verdict.trigger = count(endpoint.policy, endpoint.cell, reading);
    if (verdict.trigger != OutlierTrigger::none) {
        eject(endpoint, now, verdict);
    }
    return verdict;
}

Swept sweep(model::EndpointHealth& cell, model::DestinationHealth& verdicts, Instant now) {
    std::int64_t until = cell.ejected_until.load();
    if (until == EndpointHealth::gone) {
        return Swept::done;
    }
    if (until > now.time_since_epoch().count()) {
        return Swept::waiting;
    }
    if (until != EndpointHealth::in_rotation) {
        cell.consecutive_5xx.store(0);
        cell.consecutive_gateway.store(0);
        cell.consecutive_local.store(0);
        if (!cell.ejected_until.compare_exchange_strong(until, EndpointHealth::in_rotation)) {
            return Swept::waiting;
        }
        verdicts.ejected.fetch_sub(1);
        verdicts.epoch.fetch_add(1);
        return Swept::returned;
    }
    const std::uint32_t multiplier = cell.multiplier.load();
    if (multiplier > 0) {
        cell.multiplier.store(multiplier - 1);
    }
    return multiplier > 1 ? Swept::calmer : Swept::done;
}

bool panics(std::uint32_t min_health_percent, std::size_t in_rotation, std::size_t endpoints) {
    return endpoints != 0 && 100 * in_rotation < std::size_t{min_health_percent} * endpoints;
}

std::string last_errors_text(const model::EndpointHealth& cell) {
    std::string text;
    std::uint64_t errors = cell.last_errors.load(std::memory_order_relaxed);
    for (; errors != 0; errors >>= 16) {
        const auto code = static_cast<std::uint16_t>(errors & 0xFFFF);
        text += text.empty() ? "" : ", ";
        text +=
            code < failure_codes_from
                ? std::to_string(code)
                : std::string(failure_name(static_cast<FailureKind>(code - failure_codes_from)));
    }
    return text;
}

}  // namespace orlop::decide
