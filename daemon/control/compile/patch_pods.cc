#include "daemon/control/compile/patch_pods.h"

#include <algorithm>
#include <tuple>

namespace orlop::control {
namespace {

bool has_all(const model::Labels& labels, const model::Labels& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

std::string uid_of(const Object& pod) {
    return pod.meta.uid.empty() ? pod.key.ns + "/" + pod.key.name : pod.meta.uid;
}

bool by_name(const model::WorkloadPtr& a, const model::WorkloadPtr& b) {
    return std::tie(a->ns, a->name) < std::tie(b->ns, b->name);
}

}  // namespace

bool PodPatch::note(const ObjectChange& change) {
    if (change.key.kind == "PodSandbox") {
        return note_sandbox(change);
    }
    if (change.key.kind == "NodeStatus") {
        note_status(change);
        return true;
    }
    changes_[change.key] = {change.before, change.after, nullptr};
    return true;
}

bool PodPatch::note_sandbox(const ObjectChange& change) {
    auto uid = [](const ObjectPtr& object) {
        return object ? std::get<PodSandboxSpec>(object->spec).uid : std::string();
    };
    std::string old_uid = uid(change.before);
    std::string new_uid = uid(change.after);
    uids_.insert({old_uid, new_uid});
    if (old_uid == new_uid) {
        return state_.pods->set_sandbox(new_uid, change.before, change.after);
    }
    bool dropped = !change.before || state_.pods->set_sandbox(old_uid, change.before, nullptr);
    return dropped && (!change.after || state_.pods->set_sandbox(new_uid, nullptr, change.after));
}

void PodPatch::note_status(const ObjectChange& change) {
    auto list = [](const ObjectPtr& object) {
        std::multiset<std::string> out;
        if (object) {
            const auto& uids = std::get<NodeStatusSpec>(object->spec).redirected;
            out.insert(uids.begin(), uids.end());
        }
        return out;
    };
    std::multiset<std::string> before = list(change.before);
    std::multiset<std::string> after = list(change.after);
    std::vector<std::string> gone;
    std::vector<std::string> fresh;
    std::ranges::set_difference(before, after, std::back_inserter(gone));
    std::ranges::set_difference(after, before, std::back_inserter(fresh));
    for (const std::string& uid : gone) {
        state_.pods->drop_redirected(uid);
    }
    for (const std::string& uid : fresh) {
        state_.pods->add_redirected(uid);
    }
    uids_.insert(gone.begin(), gone.end());
    uids_.insert(fresh.begin(), fresh.end());
}

void PodPatch::note_uid(const std::string& uid) {
    const auto* workload = next_.workload_by_uid.find(std::string_view(uid));
    if (workload == nullptr) {
        return;
    }
    const StoredObject* pod = store_.find({"Pod", (*workload)->ns, (*workload)->name});
    if (pod != nullptr && pod->object != nullptr) {
        changes_.try_emplace(pod->key, Change{pod->object, pod->object, nullptr});
    }
}

// The addresses of our node are those of its pods' hosts.
bool PodPatch::count_host_ips(const Change& change) {
    auto host_ip = [&](const ObjectPtr& pod) -> std::optional<IpAddress> {
        if (!pod || state_.node.empty() || std::get<PodSpec>(pod->spec).node != state_.node) {
            return std::nullopt;
        }
        return std::get<PodSpec>(pod->spec).host_ip;
    };
    std::optional<IpAddress> before = host_ip(change.before);
    std::optional<IpAddress> after = host_ip(change.after);
    if (before == after) {
        return true;
    }
    bool same_set = !before || --state_.index.host_ips[*before] > 0;
    return (!after || state_.index.host_ips[*after]++ > 0) && same_set;
}

// A Sidecar gives a namespace a scope when there are pods in it.
bool PodPatch::count(const std::string& ns, std::ptrdiff_t more) {
    std::size_t& pods = state_.index.pods[ns];
    bool had = pods > 0;
    pods += static_cast<std::size_t>(more);
    return had == (pods > 0) || store_.objects("Sidecar").empty();
}

model::WorkloadPtr PodPatch::workload_of(const ObjectPtr& pod) const {
    const auto* found = pod ? next_.workload_by_uid.find(std::string_view(uid_of(*pod))) : nullptr;
    bool its_own =
        found != nullptr && (*found)->ns == pod->key.ns && (*found)->name == pod->key.name;
    return its_own ? *found : nullptr;  // a finished pod has none, another may have its uid
}

bool PodPatch::apply() {
    for (const std::string& uid : uids_) {
        note_uid(uid);
    }
    if (changes_.empty()) {
        return true;
    }
    if (!next_.twins.empty()) {
        return false;
    }
    index_listed(state_);
    for (auto& [key, change] : changes_) {
        if (!count_host_ips(change)) {
            return false;
        }
        model::WorkloadPtr known = workload_of(change.before);
        if (known && !remove(key, known)) {
            return false;
        }
    }
    for (auto& [key, change] : changes_) {
        if (change.after && !add(key, change)) {
            return false;
        }
    }
    return true;
}

bool PodPatch::remove(const ObjectKey& key, const model::WorkloadPtr& workload) {
    if (!state_.pods->forget(*workload) || !count(workload->ns, -1)) {
        return false;
    }
    told_changed_ = state_.told.erase(key) > 0 || told_changed_;
    model::WorkloadsByUid::Edit(next_.workload_by_uid).erase(std::string_view(workload->uid));
    model::AddressedWorkloads::Edit by_address(next_.workload_by_address);
    for (const IpAddress& address : workload->addresses) {
        if (state_.index.contested.contains(address)) {
            return false;
        }
        if (!workload->host_network) {
            by_address.erase(address);
        }
    }
    std::erase(next_.local_workloads, workload);
    return concern(*workload);
}

bool PodPatch::add(const ObjectKey& key, Change& change) {
    FindingSink findings;
    change.workload = state_.pods->make(change.after, findings);
    if (!change.workload) {
        return true;
    }
    const model::WorkloadPtr& workload = change.workload;
    if (Findings some = findings.take(); !some.empty()) {
        state_.told[key] = std::move(some);
        told_changed_ = true;
    }
    model::WorkloadsByUid::Edit by_uid(next_.workload_by_uid);
    if (by_uid.find(std::string_view(workload->uid)) != nullptr || !count(workload->ns, 1)) {
        return false;
    }
    by_uid.put(workload);
    model::AddressedWorkloads::Edit by_address(next_.workload_by_address);
    for (const IpAddress& address : workload->addresses) {
        const auto* other = by_address.find(address);
        bool taken = other != nullptr && other->workload != workload;
        if (state_.index.contested.contains(address) || (taken && !workload->host_network)) {
            return false;
        }
        if (!workload->host_network) {
            by_address.put({address, workload});
        }
    }
    if (workload->local) {
        auto& local = next_.local_workloads;
        local.insert(std::ranges::upper_bound(local, workload, by_name), workload);
    }
    return concern(*workload);
}

bool PodPatch::concern(const model::Workload& workload) {
    const PatchIndex& index = state_.index;
    for (const auto& [key, value] : workload.labels) {
        auto found = index.selectors.find(workload.ns + '\n' + key + '\n' + value);
        if (found != index.selectors.end()) {
            services_.insert(found->second.begin(), found->second.end());
        }
    }
    for (const IpAddress& address : workload.addresses) {
        auto [first, last] = index.listed.equal_range(address);
        for (; first != last; ++first) {
            services_.insert(first->second);
        }
        if (index.outside.contains(address)) {
            return false;
        }
    }
    auto selectors = index.outside_selectors.find(workload.ns);
    return selectors == index.outside_selectors.end() ||
           std::ranges::none_of(selectors->second, [&](const model::Labels& selector) {
               return has_all(workload.labels, selector);
           });
}

}  // namespace orlop::control
