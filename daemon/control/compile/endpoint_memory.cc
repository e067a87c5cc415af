#include "daemon/control/compile/endpoint_memory.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace orlop::control {
namespace {

std::string_view uid_of(const model::Endpoint& endpoint) {
    return endpoint.workload ? std::string_view(endpoint.workload->uid) : std::string_view();
}

void retire(model::EndpointHealth& cell, model::DestinationHealth& verdicts) {
    if (cell.ejected_until.exchange(model::EndpointHealth::gone) > 0) {
        verdicts.ejected.fetch_sub(1);
        verdicts.epoch.fetch_add(1);
    }
}

}  // namespace

void EndpointMemory::complete(model::Destination& destination) {
    const model::TrafficPolicy& policy = destination.policy;
    if (policy.outlier || policy.warmup) {
        watch(destination);
    }
    if (policy.load_balancing == model::LoadBalancing::consistent_hash && policy.consistent_hash) {
        auto& kept = tables_[destination.key];
        auto table = kept.lock();
        if (!table || !table->serves(*policy.consistent_hash, destination.endpoints)) {
            table = model::HashTable::build(*policy.consistent_hash, destination.endpoints);
            kept = table;
        }
        destination.hash_table = std::move(table);
    }
    if (watched_.size() + tables_.size() > forget_at_) {
        forget_unused();
    }
}

void EndpointMemory::watch(model::Destination& destination) {
    Members& members = watched_[destination.key];
    auto verdicts = members.verdicts.lock();
    if (!verdicts) {
        verdicts = std::make_shared<model::DestinationHealth>();
        members.verdicts = verdicts;
    }
    std::map<SocketAddress, model::EndpointHealthPtr> known;
    for (const auto& weak : members.cells) {
        if (auto cell = weak.lock()) {
            known.emplace(cell->address, std::move(cell));
        }
    }
    members.cells.clear();
    for (const model::Endpoint& endpoint : destination.endpoints) {
        auto found = known.find(endpoint.address);
        model::EndpointHealthPtr cell;
        if (found != known.end() && found->second->uid == uid_of(endpoint)) {
            cell = std::move(found->second);
            known.erase(found);
        } else {
            cell = std::make_shared<model::EndpointHealth>(endpoint.address,
                                                           std::string(uid_of(endpoint)));
        }
        members.cells.push_back(cell);
        destination.health.push_back(std::move(cell));
    }
    for (const auto& [address, cell] : known) {
        retire(*cell, *verdicts);
    }
    destination.verdicts = std::move(verdicts);
}

void EndpointMemory::forget_unused() {
    std::erase_if(watched_, [](const auto& entry) { return entry.second.verdicts.expired(); });
    std::erase_if(tables_, [](const auto& entry) { return entry.second.expired(); });
    forget_at_ = 2 * (watched_.size() + tables_.size()) + 1024;
}

}  // namespace orlop::control
