#include "daemon/control/compile/pod_claims.h"

#include <algorithm>
#include <utility>

namespace orlop::control {

void PodClaims::add(model::PodTarget claim) {
    const model::PodTarget* holder = edit_.find(claim.address);
    if (holder == nullptr) {
        edit_.put(std::move(claim));
        return;
    }
    if (holder->target == claim.target) {
        return;
    }
    std::vector<model::PodTarget>& others = waiting_[claim.address];
    if (std::ranges::find(others, claim.target, &model::PodTarget::target) != others.end()) {
        return;
    }
    if (claim.target < holder->target) {
        others.push_back(*holder);
        edit_.put(std::move(claim));
    } else {
        others.push_back(std::move(claim));
    }
}

void PodClaims::remove(const SocketAddress& address, std::uint32_t target) {
    const model::PodTarget* holder = edit_.find(address);
    if (holder == nullptr) {
        return;
    }
    auto others = waiting_.find(address);
    if (holder->target != target) {
        if (others != waiting_.end()) {
            std::erase_if(others->second,
                          [&](const auto& claim) { return claim.target == target; });
        }
    } else if (others == waiting_.end() || others->second.empty()) {
        edit_.erase(address);
    } else {
        auto next = std::ranges::min_element(others->second, {}, &model::PodTarget::target);
        edit_.put(std::move(*next));
        others->second.erase(next);
    }
    if (others != waiting_.end() && others->second.empty()) {
        waiting_.erase(others);
    }
}

std::vector<model::PodTarget> claims_of(const std::vector<model::Endpoint>& endpoints,
                                        const model::Service& service,
                                        std::uint32_t target) {
    using Reach = model::PodTarget::Reach;
    bool outside = service.resolution != model::Resolution::registry;
    std::vector<model::PodTarget> out;
    out.reserve(endpoints.size());
    for (const model::Endpoint& endpoint : endpoints) {
        if (outside) {
            out.push_back({endpoint.address, target, Reach::any, nullptr});
        } else if (endpoint.workload) {
            for (const IpAddress& address : endpoint.workload->addresses) {
                out.push_back(
                    {{address, endpoint.address.port}, target, Reach::that_one, endpoint.workload});
            }
        } else {
            out.push_back({endpoint.address, target, Reach::that_one, nullptr});
        }
    }
    return out;
}

}  // namespace orlop::control
