// NodeLimits: the counters of rate limits and quotas, one set per node, shared by its cores as
// atomics. Made before the cores and kept by each of them.
#pragma once

#include "daemon/decide/quota.h"
#include "daemon/decide/rate_limit.h"

namespace orlop::proxy {

struct NodeLimits {
    explicit NodeLimits(std::uint64_t seed) : rates(seed) {}
    decide::RateLimitTable rates;
    decide::QuotaTable quotas;
};

}  // namespace orlop::proxy
