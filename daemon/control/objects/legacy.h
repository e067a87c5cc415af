// Kinds of config.istio.io/v1alpha2 (istio-semantics §17, end): each is turned into the elements of
// the current kinds when it is decoded; translate_legacy.h puts those of one host together.
//
// A field that has no counterpart today becomes a warning ORL022 of the object: `orlopctl convert`
// prints it as a note. Values, immutable once decoded.
#pragma once

#include "daemon/control/objects/traffic.h"
#include "daemon/control/yaml_document.h"
#include "daemon/model/rate_limit.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace orlop::control {

// An IstioService of v1alpha2 as current objects name it.
struct LegacyService {
    std::string host;  // as written in an object of namespace `ns`
    std::string ns;    // where the current object goes: the destination's namespace
};

// Labels that picked endpoints directly are a subset today.
struct LegacySubset {
    LegacyService service;
    std::string name;
    model::Labels labels;
    int line = 0;
};

struct RouteRuleSpec {
    LegacyService destination;
    int precedence = 0;          // higher first
    std::string source_service;  // callers that stand behind this Service; empty: any
    std::string source_ns;
    Node http;  // an element of VirtualService spec.http; the lines are those of the RouteRule
    std::shared_ptr<const HttpRouteSpec> route;  // `http`, decoded
    std::vector<LegacySubset> subsets;
};

struct DestinationPolicySpec {
    LegacySubset target;  // name empty: the whole service
    Node policy;          // a trafficPolicy of DestinationRule
    std::shared_ptr<const TrafficPolicySpec> decoded;
};

// Mixer's kinds for quotas (istio-semantics §13); compile/quotas joins the three.
struct MemquotaSpec {
    struct Entry {
        std::string name;  // requestcount.quota.istio-system
        std::uint64_t max_amount = 0;
        Duration valid_duration{};  // zero: never expires
        std::vector<model::QuotaOverride> overrides;
        int line = 0;
    };
    std::vector<Entry> quotas;
};

struct QuotaInstanceSpec {
    std::vector<std::pair<std::string, model::LimitExpression>> dimensions;
};

struct MixerRuleSpec {
    struct Action {
        std::string handler;  // NAME.KIND[.NAMESPACE]
        std::vector<std::string> instances;
        int line = 0;
    };
    std::vector<model::LimitCondition> conditions;
    std::vector<Action> actions;
};

// `v1` for {version: v1}, `track-canary-v1` for {track: canary, version: v1}: always a DNS label.
std::string subset_name_of(const model::Labels& labels);

}  // namespace orlop::control
