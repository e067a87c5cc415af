#include "daemon/decide/rotation.h"

#include "daemon/base/limits.h"
#include "daemon/decide/outlier.h"

#include <algorithm>
#include <array>
#include <map>

namespace orlop::decide {

namespace {

constexpr std::size_t word_bits = 64;
constexpr double overprovisioning = 1.4;  // Envoy's: a group serves all until 29 % are out

bool bit_of(std::span<const std::uint64_t> words, std::size_t index) {
    return ((words[index / word_bits] >> (index % word_bits)) & 1) != 0;
}

void set_bit(std::span<std::uint64_t> words, std::size_t index) {
    words[index / word_bits] |= std::uint64_t{1} << (index % word_bits);
}

const model::LocalityLb& rules_of(const model::TrafficPolicy& policy) {
    static const model::LocalityLb by_nearness;
    return policy.locality_lb ? *policy.locality_lb : by_nearness;
}

// A label as failoverPriority names it: topology labels come from the place.
std::string_view
label_of(std::string_view key, const model::Labels* labels, const model::Locality& place) {
    if (key == "topology.kubernetes.io/region") {
        return place.region;
    }
    if (key == "topology.kubernetes.io/zone") {
        return place.zone;
    }
    if (key == "topology.istio.io/subzone") {
        return place.subzone;
    }
    if (labels == nullptr) {
        return {};
    }
    auto found = labels->find(key);
    return found == labels->end() ? std::string_view() : std::string_view(found->second);
}

// The more leading labels are alike, the nearer.
std::uint32_t priority_by_labels(const std::vector<std::string>& priorities,
                                 const model::Workload& caller,
                                 const model::Endpoint& endpoint) {
    const model::Labels* theirs = endpoint.workload ? &endpoint.workload->labels : nullptr;
    std::uint32_t alike = 0;
    for (const std::string& entry : priorities) {
        const std::size_t equals = entry.find('=');
        const std::string_view key = std::string_view(entry).substr(0, equals);
        const std::string_view wanted = equals == std::string::npos
                                            ? label_of(key, &caller.labels, caller.locality)
                                            : std::string_view(entry).substr(equals + 1);
        if (label_of(key, theirs, endpoint.locality()) != wanted) {
            break;
        }
        ++alike;
    }
    return static_cast<std::uint32_t>(priorities.size()) - alike;
}

}  // namespace

bool locality_matches(std::string_view pattern, const model::Locality& place) {
    const std::array<std::string_view, 3> parts = {place.region, place.zone, place.subzone};
    for (const std::string_view part : parts) {
        if (pattern.empty()) {
            return true;
        }
        const std::size_t slash = pattern.find('/');
        const std::string_view wanted = pattern.substr(0, slash);
        if (wanted != "*" && wanted != part) {
            return false;
        }
        pattern = slash == std::string_view::npos ? std::string_view() : pattern.substr(slash + 1);
    }
    return true;
}

std::uint32_t locality_priority(const model::LocalityLb& rules,
                                const model::Workload& caller,
                                const model::Endpoint& endpoint) {
    if (!rules.failover_priority.empty()) {
        return priority_by_labels(rules.failover_priority, caller, endpoint);
    }
    const model::Locality& here = caller.locality;
    const model::Locality& there = endpoint.locality();
    if (here.region == there.region) {
        return here.zone != there.zone ? 2 : here.subzone != there.subzone ? 1 : 0;
    }
    for (const auto& rule : rules.failover) {
        if (rule.from == here.region) {
            return rule.to == there.region ? 3 : 4;
        }
    }
    return 3;
}

void Rotation::add(std::size_t group, std::size_t index, std::size_t endpoints) {
    Group& to = groups_[group];
    to.members.resize((endpoints + word_bits - 1) / word_bits);
    set_bit(to.members, index);
    ++to.size;
}

void Rotation::split_by_priority(const model::Destination& destination,
                                 const model::Workload& caller) {
    const model::LocalityLb& rules = rules_of(destination.policy);
    std::map<std::uint32_t, std::vector<std::size_t>> by_priority;
    for (std::size_t i = 0; i < destination.endpoints.size(); ++i) {
        const std::uint32_t priority = locality_priority(rules, caller, destination.endpoints[i]);
        by_priority[std::min<std::uint32_t>(priority, limits::locality_groups_max - 1)].push_back(
            i);
    }
    for (const auto& [priority, members] : by_priority) {
        groups_.emplace_back();
        for (const std::size_t index : members) {
            add(groups_.size() - 1, index, destination.endpoints.size());
        }
    }
    split_ = groups_.size() > 1 ? Split::priorities : Split::whole;
}

// False: no rule is for this caller. An endpoint belongs to the first target that names its place;
// those that no target names get nothing.
bool Rotation::split_by_weights(const model::Destination& destination,
                                const model::Workload& caller) {
    const auto& rules = rules_of(destination.policy).distribute;
    auto rule = std::ranges::find_if(
        rules, [&](const auto& one) { return locality_matches(one.from, caller.locality); });
    if (rule == rules.end()) {
        return false;
    }
    const std::size_t targets = std::min(rule->to.size(), limits::locality_groups_max);
    groups_.resize(targets);
    for (std::size_t i = 0; i < targets; ++i) {
        groups_[i].weight = rule->to[i].second;
        groups_[i].members.resize((destination.endpoints.size() + word_bits - 1) / word_bits);
    }
    for (std::size_t i = 0; i < destination.endpoints.size(); ++i) {
        for (std::size_t target = 0; target < targets; ++target) {
            if (locality_matches(rule->to[target].first, destination.endpoints[i].locality())) {
                add(target, i, destination.endpoints.size());
                break;
            }
        }
    }
    split_ = Split::weights;
    return true;
}

void Rotation::follow(const model::Destination& destination, const model::Workload& caller) {
    groups_.clear();
    split_ = Split::whole;
    epoch_ = 0;
    const model::TrafficPolicy& policy = destination.policy;
    const bool placed = !caller.locality.empty() && rules_of(policy).enabled;
    const bool by_labels = policy.locality_lb && !policy.locality_lb->failover_priority.empty();
    if (!(placed && policy.locality_lb && split_by_weights(destination, caller)) &&
        policy.outlier && rules_of(policy).enabled && (placed || by_labels)) {
        split_by_priority(destination, caller);
    }
    if (split_ == Split::whole) {
        groups_.assign(1, {});
        for (std::size_t i = 0; i < destination.endpoints.size(); ++i) {
            add(0, i, destination.endpoints.size());
        }
    }
    refresh(destination);
}

void Rotation::refresh(const model::Destination& destination) {
    const bool watched = destination.policy.outlier && destination.verdicts;
    epoch_ = watched ? destination.verdicts->epoch.load(std::memory_order_acquire) : 1;
    ejected_ = 0;
    std::uint32_t total = 0;
    for (Group& group : groups_) {
        group.usable = group.members;
        group.healthy = group.size;
        total += group.size;
    }
    for (std::size_t i = 0; watched && i < destination.health.size(); ++i) {
        if (!destination.health[i]->ejected()) {
            continue;
        }
        for (Group& group : groups_) {
            if (!group.members.empty() && bit_of(group.members, i)) {
                group.usable[i / word_bits] &= ~(std::uint64_t{1} << (i % word_bits));
                --group.healthy;
                ++ejected_;
            }
        }
    }
    panic_ = ejected_ != 0 &&
             panics(destination.policy.outlier->min_health_percent, total - ejected_, total);
    for (Group& group : groups_) {
        if (panic_) {
            group.usable = group.members;
            group.healthy = group.size;
        }
    }
    share_load();
}

// Priorities: the first serves what it can, the rest spills over; weights: less for a target that
// has lost endpoints. Both as Envoy's.
void Rotation::share_load() {
    double left = 1.0;
    double sum = 0;
    for (Group& group : groups_) {
        const double capacity =
            group.size == 0 ? 0 : std::min(1.0, overprovisioning * group.healthy / group.size);
        group.load = split_ == Split::weights ? group.weight * capacity : std::min(left, capacity);
        left -= group.load;
        sum += group.load;
    }
    for (Group& group : groups_) {
        group.load = sum > 0 ? group.load / sum : 0;
    }
}

bool Rotation::was_tried(const model::Destination& destination,
                         const Group& group,
                         const TriedEndpoints& tried) const {
    for (std::size_t i = 0; i < destination.endpoints.size(); ++i) {
        if (bit_of(group.members, i) && tried.contains(destination.endpoints[i].address)) {
            return true;
        }
    }
    return false;
}

const Rotation::Group& Rotation::draw(const model::Destination& destination,
                                      RandomSource random,
                                      const TriedEndpoints* tried) const {
    if (tried != nullptr) {
        for (const Group& group : groups_) {
            if (group.healthy != 0 && !was_tried(destination, group, *tried)) {
                return group;
            }
        }
    }
    double point = static_cast<double>(random() >> 11) / 9007199254740992.0;
    for (const Group& group : groups_) {
        if (point < group.load) {
            return group;
        }
        point -= group.load;
    }
    auto last =
        std::ranges::find_if(groups_, [](const Group& group) { return group.healthy != 0; });
    return last == groups_.end() ? groups_.front() : *last;
}

Rotation::Choice Rotation::choose(const model::Destination& destination,
                                  RandomSource random,
                                  const TriedEndpoints* tried) {
    const bool watched = destination.policy.outlier && destination.verdicts;
    if (watched && destination.verdicts->epoch.load(std::memory_order_acquire) != epoch_) {
        refresh(destination);
    }
    Choice choice;
    choice.ejected = ejected_;
    choice.panic = panic_;
    const bool one = groups_.size() == 1;
    const Group& group = one ? groups_.front() : draw(destination, random, tried);
    if (!one || (ejected_ != 0 && !panic_)) {
        choice.usable = group.usable;
    }
    if (split_ != Split::whole) {
        const bool first = &group == &groups_.front();
        choice.group = split_ == Split::weights ? "by locality weight"
                       : first                  ? "the nearest locality"
                                                : "a farther locality (failover)";
    }
    return choice;
}

}  // namespace orlop::decide
