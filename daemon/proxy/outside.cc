#include "daemon/proxy/outside.h"

#include "daemon/base/limits.h"
#include "daemon/proxy/destination_state.h"

namespace orlop::proxy {
namespace {

constexpr std::uint64_t passthrough_key = 0x9e3779b97f4a7c15ull;

std::uint64_t key_of(const model::Destination* base, const SocketAddress& original) {
    std::uint64_t key = base == nullptr ? passthrough_key : base->key;
    return key ^ (std::hash<SocketAddress>()(original) * passthrough_key + 1);
}

// A caller that walks over many addresses must not leave a pool at each of them.
void forget_all(LocalPod& pod) {
    for (const auto& [key, destination] : pod.outside) {
        if (auto state = pod.destinations.extract(key); !state.empty()) {
            state.mapped()->end_all();
        }
    }
    pod.outside.clear();
}

}  // namespace

model::DestinationPtr outside_destination(LocalPod& pod,
                                          const model::Destination* base,
                                          const SocketAddress& original,
                                          model::WorkloadPtr workload) {
    std::uint64_t key = key_of(base, original);
    if (auto known = pod.outside.find(key); known != pod.outside.end()) {
        return known->second;
    }
    if (pod.outside.size() >= limits::outside_destinations_per_pod_max) {
        forget_all(pod);
    }
    auto out = std::make_shared<model::Destination>();
    if (base != nullptr) {
        *out = *base;
    } else {
        out->cluster_name = passthrough_cluster;
        out->port.port = original.port;
        out->port.protocol = model::Protocol::http1;
    }
    out->key = key;
    out->endpoints.clear();
    out->endpoints.emplace_back().address = original;
    out->endpoints.back().workload = std::move(workload);
    pod.outside.emplace(key, out);
    return out;
}

}  // namespace orlop::proxy
