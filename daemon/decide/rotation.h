// Rotation: which endpoints of a destination a caller may be sent to now: ejected ones are out
// (istio-semantics §6), and localities decide who comes first (§7).
//
// Endpoints form groups: one group, or the priorities of locality failover, or the targets of
// locality `distribute`. follow() builds them when a destination or its caller's place changes;
// choose() is for every request and allocates nothing: it looks at one number and works again only
// when a verdict has changed. One per source workload and destination; one core.
//
//     rotation.follow(destination, caller);
//     Rotation::Choice choice = rotation.choose(destination, random, nullptr);
//     balancer.pick(destination, {.usable = choice.usable, ...});
#pragma once

#include "daemon/decide/balance.h"
#include "daemon/model/destination.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace orlop::decide {

class Rotation {
public:
    struct Choice {
        std::span<const std::uint64_t> usable{};  // for BalanceRequest; empty: all
        std::uint32_t ejected = 0;                // endpoints out of rotation
        bool panic = false;                       // too few are left: all are used
        std::string_view group{};                 // "priority 1", "", ...; static text
    };

    void follow(const model::Destination& destination, const model::Workload& caller);
    // `tried`: groups of these endpoints are left out while others can serve
    // (retryRemoteLocalities).
    Choice choose(const model::Destination& destination,
                  RandomSource random,
                  const TriedEndpoints* tried = nullptr);
    std::size_t groups() const { return groups_.size(); }

private:
    struct Group {
        std::vector<std::uint64_t> members;
        std::vector<std::uint64_t> usable;
        std::uint32_t size = 0;
        std::uint32_t healthy = 0;
        double weight = 0;  // distribute
        double load = 0;    // share of the requests now
    };
    enum class Split : unsigned char { whole, priorities, weights };

    void split_by_priority(const model::Destination& destination, const model::Workload& caller);
    bool split_by_weights(const model::Destination& destination, const model::Workload& caller);
    void add(std::size_t group, std::size_t index, std::size_t endpoints);
    void refresh(const model::Destination& destination);
    void share_load();
    const Group& draw(const model::Destination& destination,
                      RandomSource random,
                      const TriedEndpoints* tried) const;
    bool was_tried(const model::Destination& destination,
                   const Group& group,
                   const TriedEndpoints& tried) const;

    std::vector<Group> groups_;
    Split split_ = Split::whole;
    std::uint64_t epoch_ = 0;  // of the verdicts the masks were made from; 0: none yet
    std::uint32_t ejected_ = 0;
    bool panic_ = false;
};

// Priority of an endpoint for a caller, 0 first: failoverPriority, failover, or nearness.
std::uint32_t locality_priority(const model::LocalityLb& rules,
                                const model::Workload& caller,
                                const model::Endpoint& endpoint);
// "region1/zone1/*" and shorter forms against a place.
bool locality_matches(std::string_view pattern, const model::Locality& place);

}  // namespace orlop::decide
