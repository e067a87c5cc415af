#include "daemon/control/compile/workloads.h"

#include "daemon/control/compile/authorization.h"
#include "daemon/control/compile/sidecars.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_map>

namespace orlop::control {
namespace {

using model::MtlsMode;

std::string label_of(const model::Labels& labels, std::string_view key) {
    auto found = labels.find(key);
    return found == labels.end() ? std::string() : found->second;
}

std::string first_label(const model::Labels& labels, std::initializer_list<std::string_view> keys) {
    for (std::string_view key : keys) {
        if (std::string value = label_of(labels, key); !value.empty()) {
            return value;
        }
    }
    return {};
}

bool has_all(const model::Labels& labels, const model::Labels& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

// A Deployment's ReplicaSet is named <deployment>-<hash>; people know the Deployment.
std::string workload_name_of(const Object& pod) {
    if (pod.meta.owner_name.empty()) {
        return pod.key.name;
    }
    if (pod.meta.owner_kind == "ReplicaSet") {
        return pod.meta.owner_name.substr(0, pod.meta.owner_name.rfind('-'));
    }
    return pod.meta.owner_name;
}

bool revision_enrols(const model::MeshConfig& mesh, const std::string& revision) {
    return !revision.empty() && std::ranges::any_of(mesh.revisions, [&](const std::string& known) {
        return known == "*" || known == revision;
    });
}

bool enrol_wanted(const model::MeshConfig& mesh,
                  const model::Labels& ns_labels,
                  const Object& pod) {
    const model::Labels& labels = pod.meta.labels;
    std::string own = label_of(labels, "istio.io/dataplane-mode");
    if (!own.empty()) {
        return own == mesh.dataplane_mode;  // `none`, or a mode that others serve, opts out
    }
    std::string inject = label_of(labels, "sidecar.istio.io/inject");
    if (inject.empty()) {
        inject = label_of(pod.meta.annotations, "sidecar.istio.io/inject");
    }
    std::string mode = label_of(ns_labels, "istio.io/dataplane-mode");
    if (mode == mesh.dataplane_mode) {
        return true;
    }
    if (mode == "none" || inject == "false") {
        return false;
    }
    std::string injection = label_of(ns_labels, "istio-injection");
    if (mesh.injection_label_enrols && injection == "enabled") {
        return true;
    }
    if (injection == "disabled") {
        return false;
    }
    return revision_enrols(mesh, label_of(labels, "istio.io/rev")) ||
           revision_enrols(mesh, label_of(ns_labels, "istio.io/rev"));
}

template <class Visit> void each_item(std::string_view list, Visit visit) {
    while (!list.empty()) {
        std::size_t comma = list.find(',');
        std::string_view item = list.substr(0, comma);
        while (!item.empty() && item.front() == ' ') {
            item.remove_prefix(1);
        }
        while (!item.empty() && item.back() == ' ') {
            item.remove_suffix(1);
        }
        if (!item.empty()) {
            visit(item);
        }
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    }
}

void read_excluded_ports(const Object& pod,
                         std::string_view name,
                         std::vector<std::uint16_t>& out,
                         FindingSink& findings) {
    auto found = pod.meta.annotations.find(name);
    if (found == pod.meta.annotations.end()) {
        return;
    }
    each_item(found->second, [&](std::string_view item) {
        std::uint16_t port = 0;
        auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), port);
        if (error != std::errc() || end != item.data() + item.size() || port == 0) {
            findings.warn("ORL012",
                          pod.ref,
                          fmt::format("metadata.annotations[{}]", name),
                          fmt::format("\"{:.40}\" is no port; it is not excluded", item));
            return;
        }
        if (std::ranges::find(out, port) == out.end()) {
            out.push_back(port);
        }
    });
    std::ranges::sort(out);
}

// Annotations of others' data planes that would change what is captured here.
void report_unenforced(const Object& pod, FindingSink& findings) {
    static constexpr std::string_view names[] = {"ambient.istio.io/bypass-inbound-capture",
                                                 "traffic.sidecar.istio.io/includeInboundPorts",
                                                 "traffic.sidecar.istio.io/includeOutboundPorts",
                                                 "traffic.sidecar.istio.io/includeOutboundIPRanges",
                                                 "traffic.sidecar.istio.io/excludeInterfaces"};
    for (std::string_view name : names) {
        auto found = pod.meta.annotations.find(name);
        bool acts_anyway = found == pod.meta.annotations.end() || found->second == "*" ||
                           found->second == "false" || found->second.empty();
        if (!acts_anyway) {
            findings.warn("ORL003",
                          pod.ref,
                          fmt::format("metadata.annotations[{}]", name),
                          "accepted, not enforced: all that is not excluded is captured",
                          "use excludeInboundPorts, excludeOutboundPorts or "
                          "excludeOutboundIPRanges");
        }
    }
}

model::CaptureExclusions
exclusions_of(const model::MeshConfig& mesh, const Object& pod, FindingSink& findings) {
    model::CaptureExclusions out = mesh.exclusions;
    report_unenforced(pod, findings);
    read_excluded_ports(
        pod, "traffic.sidecar.istio.io/excludeInboundPorts", out.inbound_ports, findings);
    read_excluded_ports(
        pod, "traffic.sidecar.istio.io/excludeOutboundPorts", out.outbound_ports, findings);
    static constexpr std::string_view ranges = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    auto found = pod.meta.annotations.find(ranges);
    if (found != pod.meta.annotations.end()) {
        each_item(found->second, [&](std::string_view item) {
            if (auto range = Cidr::parse(item)) {
                out.outbound_ranges.push_back(*range);
            } else {
                findings.warn(
                    "ORL012",
                    pod.ref,
                    fmt::format("metadata.annotations[{}]", ranges),
                    fmt::format("\"{:.60}\" is no address range; it is not excluded", item));
            }
        });
    }
    return out;
}

// PeerAuthentication by scope, oldest first (istio-semantics §9).
class PeerRules {
public:
    PeerRules(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings) {
        for (const ObjectPtr& object : store.in_creation_order("PeerAuthentication")) {
            const auto& spec = std::get<PeerAuthenticationSpec>(object->spec);
            bool root = object->key.ns == mesh.root_namespace;
            if (spec.has_selector && root) {
                findings.warn("ORL018",
                              object->ref,
                              "spec.selector",
                              "a selector in the root namespace is ignored",
                              "move the object to the workload's namespace");
            } else if (spec.has_selector) {
                selected_[object->key.ns].push_back(object);
            } else {
                ObjectPtr& slot = root ? mesh_ : by_namespace_[object->key.ns];
                if (slot) {
                    findings.warn("ORL010",
                                  object->ref,
                                  "",
                                  "ignored: the older " + slot->ref->to_string() +
                                      " has the same scope",
                                  "delete one of the two");
                } else {
                    slot = object;
                }
            }
        }
        for (const StoredObject* stored : store.objects("PeerAuthentication")) {
            if (stored->object == nullptr) {
                add_unreadable(*stored, mesh, findings);
            }
        }
    }

    void resolve(const ObjectPtr& pod, FindingSink& findings, model::Workload& workload) const {
        MtlsMode mode = mode_of(mesh_);
        if (auto found = by_namespace_.find(pod->key.ns); found != by_namespace_.end()) {
            mode = inherit(mode_of(found->second), mode);
        }
        const PeerAuthenticationSpec* own = selecting(pod, findings);
        if (own != nullptr) {
            mode = inherit(own->mode, mode);
        }
        workload.mtls = inherit(mode, MtlsMode::permissive);
        if (own != nullptr) {
            for (const auto& [port, port_mode] : own->port_modes) {
                workload.port_mtls[port] = inherit(port_mode, workload.mtls);
            }
        }
        if (mesh_unreadable_ || unreadable_.contains(pod->key.ns)) {
            workload.mtls = MtlsMode::strict;
            workload.port_mtls.clear();
        }
    }

private:
    // No version was ever readable: nobody knows what it was meant to close, so it closes.
    void add_unreadable(const StoredObject& stored,
                        const model::MeshConfig& mesh,
                        FindingSink& findings) {
        const ObjectKey& key = stored.key;
        bool root = key.ns == mesh.root_namespace;
        mesh_unreadable_ = mesh_unreadable_ || root;
        unreadable_.insert(key.ns);
        findings.warn("ORL033",
                      std::make_shared<const model::ObjectRef>(
                          model::ObjectRef{key.kind, key.ns, key.name, stored.source, stored.line}),
                      "",
                      fmt::format("no version of it was ever readable: {} is STRICT",
                                  root ? "the mesh" : "namespace " + key.ns),
                      "correct the object, or remove it");
    }

    static MtlsMode inherit(MtlsMode mode, MtlsMode parent) {
        return mode == MtlsMode::unset ? parent : mode;
    }
    static MtlsMode mode_of(const ObjectPtr& object) {
        return object ? std::get<PeerAuthenticationSpec>(object->spec).mode : MtlsMode::unset;
    }

    const PeerAuthenticationSpec* selecting(const ObjectPtr& pod, FindingSink& findings) const {
        auto in_namespace = selected_.find(pod->key.ns);
        if (in_namespace == selected_.end()) {
            return nullptr;
        }
        const Object* chosen = nullptr;
        for (const ObjectPtr& object : in_namespace->second) {
            const auto& spec = std::get<PeerAuthenticationSpec>(object->spec);
            if (!has_all(pod->meta.labels, spec.selector)) {
                continue;
            }
            if (chosen != nullptr) {
                findings.warn("ORL010",
                              object->ref,
                              "",
                              "ignored for some pods: the older " + chosen->ref->to_string() +
                                  " selects them too");
                continue;
            }
            chosen = object.get();
        }
        return chosen == nullptr ? nullptr : &std::get<PeerAuthenticationSpec>(chosen->spec);
    }

    ObjectPtr mesh_;
    bool mesh_unreadable_ = false;
    std::set<std::string> unreadable_;  // namespaces
    std::map<std::string, ObjectPtr> by_namespace_;
    std::map<std::string, std::vector<ObjectPtr>> selected_;
};

// Everything said about pods outside of the Pod objects themselves.
struct Surroundings {
    std::unordered_map<std::string, model::Labels> namespaces;
    std::unordered_map<std::string, std::size_t> redirected;         // pod uid -> said by how many
    std::unordered_map<std::string, ObjectPtr> sandboxes;            // by pod uid
    bool twin_sandboxes = false;                                     // several are for one pod
    std::map<std::string, std::vector<ObjectPtr>> network_policies;  // by namespace
    std::unordered_map<std::string, model::Locality> localities;     // by node
};

Surroundings collect(const ObjectStore& store) {
    Surroundings out;
    for (const ObjectPtr& object : store.in_creation_order("Namespace")) {
        out.namespaces[object->key.name] = object->meta.labels;
    }
    for (const ObjectPtr& object : store.in_creation_order("NodeStatus")) {
        const auto& spec = std::get<NodeStatusSpec>(object->spec);
        for (const std::string& uid : spec.redirected) {
            ++out.redirected[uid];
        }
    }
    for (const ObjectPtr& object : store.in_creation_order("PodSandbox")) {
        const auto& spec = std::get<PodSandboxSpec>(object->spec);
        auto [known, first] = out.sandboxes.insert_or_assign(spec.uid, object);
        out.twin_sandboxes = out.twin_sandboxes || !first;
    }
    for (const ObjectPtr& object : store.in_creation_order("Node")) {
        const model::Labels& labels = object->meta.labels;
        out.localities[object->key.name] = {
            first_label(
                labels,
                {"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}),
            first_label(labels,
                        {"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"}),
            label_of(labels, "topology.istio.io/subzone")};
    }
    for (const ObjectPtr& object : store.in_creation_order("NetworkPolicy")) {
        out.network_policies[object->key.ns].push_back(object);
    }
    return out;
}

// `istio-locality: region.zone.subzone` on the pod beats the labels of its node.
model::Locality
locality_of(const Surroundings& around, const Object& pod, const std::string& node) {
    std::string own = label_of(pod.meta.labels, "istio-locality");
    if (own.empty()) {
        auto found = around.localities.find(node);
        return found == around.localities.end() ? model::Locality{} : found->second;
    }
    char separator = own.find('/') != std::string::npos ? '/' : '.';
    model::Locality out;
    for (std::string* part : {&out.region, &out.zone, &out.subzone}) {
        std::size_t end = own.find(separator);
        *part = own.substr(0, end);
        own = end == std::string::npos ? std::string() : own.substr(end + 1);
    }
    return out;
}

bool network_policy_selects(const Surroundings& around, const Object& pod) {
    auto found = around.network_policies.find(pod.key.ns);
    return found != around.network_policies.end() &&
           std::ranges::any_of(found->second, [&](const ObjectPtr& policy) {
               return std::get<NetworkPolicySpec>(policy->spec).pods.matches(pod.meta.labels);
           });
}

void name_workload(const Object& pod, model::Workload& workload) {
    const model::Labels& labels = pod.meta.labels;
    workload.workload_name = workload_name_of(pod);
    workload.canonical_name =
        first_label(labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"});
    if (workload.canonical_name.empty()) {
        workload.canonical_name = workload.workload_name;
    }
    workload.canonical_revision = first_label(
        labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"});
    if (workload.canonical_revision.empty()) {
        workload.canonical_revision = "latest";
    }
    workload.app = label_of(labels, "app");
    workload.version = label_of(labels, "version");
}

}  // namespace

model::MeshConfig compile_mesh(const ObjectStore& store, FindingSink& findings) {
    auto objects = store.in_creation_order("MeshConfig");
    for (std::size_t i = 1; i < objects.size(); ++i) {
        findings.warn("ORL019",
                      objects[i]->ref,
                      "",
                      "ignored: " + objects[0]->ref->to_string() + " is older",
                      "keep one MeshConfig");
    }
    return objects.empty() ? model::MeshConfig{} : *std::get<MeshConfigSpec>(objects[0]->spec).mesh;
}

struct WorkloadBook::Parts {
    Parts(const Input& in, FindingSink& findings)
        : mesh(in.mesh), sidecars(in.sidecars), node(in.node), around(collect(in.store)),
          peers(in.store, in.mesh, findings), authorizations(in.store, in.mesh) {}

    const model::MeshConfig& mesh;
    const Sidecars& sidecars;
    std::string node;
    Surroundings around;
    PeerRules peers;
    AuthorizationBook authorizations;
};

WorkloadBook::WorkloadBook(const Input& in, FindingSink& findings)
    : parts_(std::make_unique<Parts>(in, findings)) {
    model::Workload gateway;  // a policy that selects it is not without effect
    gateway.ns = in.mesh.gateway.ns;
    gateway.labels = in.mesh.gateway.labels;
    gateway.enrol_wanted = true;
    parts_->authorizations.of(gateway);
}

WorkloadBook::~WorkloadBook() = default;

bool WorkloadBook::forget(const model::Workload& workload) {
    return parts_->authorizations.forget(workload);
}

void WorkloadBook::report(FindingSink& findings) const {
    parts_->authorizations.report(findings);
}

bool WorkloadBook::set_sandbox(const std::string& uid,
                               const ObjectPtr& before,
                               const ObjectPtr& after) {
    if (parts_->around.twin_sandboxes) {
        return false;  // which of them is next in force is not known here
    }
    auto known = parts_->around.sandboxes.find(uid);
    bool ours = known != parts_->around.sandboxes.end() && known->second == before;
    bool nobodys = known == parts_->around.sandboxes.end() && before == nullptr;
    if (!ours && !nobodys) {
        return false;
    }
    if (after) {
        parts_->around.sandboxes[uid] = after;
    } else {
        parts_->around.sandboxes.erase(uid);
    }
    return true;
}

void WorkloadBook::add_redirected(const std::string& uid) {
    ++parts_->around.redirected[uid];
}

void WorkloadBook::drop_redirected(const std::string& uid) {
    auto known = parts_->around.redirected.find(uid);
    if (known != parts_->around.redirected.end() && --known->second == 0) {
        parts_->around.redirected.erase(known);
    }
}

model::WorkloadPtr WorkloadBook::make(const ObjectPtr& object, FindingSink& findings) {
    const auto& spec = std::get<PodSpec>(object->spec);
    if (spec.finished) {
        return nullptr;
    }
    const model::MeshConfig& mesh = parts_->mesh;
    const Surroundings& around = parts_->around;
    auto workload = std::make_shared<model::Workload>();
    workload->uid =
        object->meta.uid.empty() ? object->key.ns + "/" + object->key.name : object->meta.uid;
    workload->name = object->key.name;
    workload->ns = object->key.ns;
    workload->service_account = spec.service_account;
    workload->node = spec.node;
    workload->locality = locality_of(around, *object, spec.node);
    workload->identity = {mesh.trust_domain, object->key.ns, spec.service_account};
    workload->labels = object->meta.labels;
    workload->sidecar = parts_->sidecars.scope_of(workload->ns, workload->labels);
    workload->addresses = spec.addresses;
    name_workload(*object, *workload);
    auto ns = around.namespaces.find(object->key.ns);
    static const model::Labels no_labels;
    workload->host_network = spec.host_network;
    workload->enrol_wanted =
        !spec.host_network &&
        enrol_wanted(mesh, ns == around.namespaces.end() ? no_labels : ns->second, *object);
    workload->redirected =
        around.redirected.contains(workload->uid) ||
        label_of(object->meta.annotations, "ambient.istio.io/redirection") == "enabled";
    workload->local = !parts_->node.empty() && spec.node == parts_->node;
    workload->ready = spec.ready;
    workload->terminating = spec.terminating;
    workload->network_policy_selected = network_policy_selects(around, *object);
    parts_->peers.resolve(object, findings, *workload);
    workload->authorization = parts_->authorizations.of(*workload);
    workload->probe_ports = spec.probe_ports;
    workload->exclusions = exclusions_of(mesh, *object, findings);
    auto sandbox = around.sandboxes.find(workload->uid);
    if (workload->local && sandbox != around.sandboxes.end()) {
        const auto& kernel = std::get<PodSandboxSpec>(sandbox->second->spec);
        workload->netns = kernel.netns;
        workload->cgroup = kernel.cgroup;
    }
    return workload;
}

Workloads
compile_workloads(const WorkloadBook::Input& in, WorkloadBook& book, FindingsByPod& told) {
    Workloads out;
    std::set<IpAddress> node_addresses;
    for (const StoredObject* stored : in.store.objects("Pod")) {
        if (stored->object == nullptr) {
            continue;
        }
        const auto& spec = std::get<PodSpec>(stored->object->spec);
        if (!in.node.empty() && spec.node == in.node && spec.host_ip) {
            node_addresses.insert(*spec.host_ip);
        }
        FindingSink findings;
        auto workload = book.make(stored->object, findings);
        if (workload == nullptr) {
            continue;
        }
        if (Findings some = findings.take(); !some.empty()) {
            told[stored->key] = std::move(some);
        }
        out.all.push_back({std::move(workload), stored->object});
    }
    for (const ObjectPtr& object : in.store.in_creation_order("Node")) {
        const auto& spec = std::get<NodeSpec>(object->spec);
        if (object->key.name == in.node) {
            node_addresses.insert(spec.addresses.begin(), spec.addresses.end());
        }
    }
    out.node_addresses.assign(node_addresses.begin(), node_addresses.end());
    return out;
}

}  // namespace orlop::control
