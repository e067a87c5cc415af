#include "daemon/app/log_target.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

namespace orlop::app {
namespace {

struct Kind {
    std::string_view written;
    std::string_view name;
};
constexpr Kind kinds[] = {
    {"pod", "Pod"},
    {"pods", "Pod"},
    {"po", "Pod"},
    {"deployment", "Deployment"},
    {"deployments", "Deployment"},
    {"deploy", "Deployment"},
    {"replicaset", "ReplicaSet"},
    {"replicasets", "ReplicaSet"},
    {"rs", "ReplicaSet"},
    {"statefulset", "StatefulSet"},
    {"statefulsets", "StatefulSet"},
    {"sts", "StatefulSet"},
    {"daemonset", "DaemonSet"},
    {"daemonsets", "DaemonSet"},
    {"ds", "DaemonSet"},
    {"job", "Job"},
    {"jobs", "Job"},
    {"service", "Service"},
    {"services", "Service"},
    {"svc", "Service"},
};

std::string_view kind_of(std::string_view written) {
    auto found = std::ranges::find(kinds, written, &Kind::written);
    return found == std::end(kinds) ? std::string_view() : found->name;
}

bool has_labels(const model::Labels& labels, const model::Labels& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& one) {
        auto found = labels.find(one.first);
        return found != labels.end() && found->second == one.second;
    });
}

const model::Labels*
selector_of(const control::ObjectStore& store, const std::string& ns, const std::string& service) {
    const control::StoredObject* stored = store.find({"Service", ns, service});
    if (stored == nullptr || stored->object == nullptr) {
        return nullptr;
    }
    const auto& spec = std::get<control::ServiceSpec>(stored->object->spec);
    return spec.selector.empty() ? nullptr : &spec.selector;
}

bool is_owned(const control::ObjectMeta& pod, std::string_view kind, std::string_view name) {
    if (kind == "Deployment") {  // by way of a ReplicaSet, <deployment>-<hash>
        return pod.owner_kind == "ReplicaSet" &&
               std::string_view(pod.owner_name).substr(0, pod.owner_name.rfind('-')) == name;
    }
    return pod.owner_kind == kind && pod.owner_name == name;
}

// Names of the pods of a workload or Service.
std::vector<std::string> pods_of(const control::ObjectStore& store,
                                 const std::string& ns,
                                 std::string_view kind,
                                 const std::string& name) {
    const model::Labels* selector = kind == "Service" ? selector_of(store, ns, name) : nullptr;
    std::vector<std::string> out;
    for (const control::ObjectPtr& pod : store.in_creation_order("Pod")) {
        bool meant = kind == "Service"
                         ? selector != nullptr && has_labels(pod->meta.labels, *selector)
                         : is_owned(pod->meta, kind, name);
        if (pod->key.ns == ns && meant) {
            out.push_back(pod->key.name);
        }
    }
    return out;
}

}  // namespace

std::string log_target(std::string_view written, std::string_view ns) {
    std::size_t slash = written.find('/');
    bool one_slash = slash != std::string_view::npos && slash == written.rfind('/');
    bool bare = slash == std::string_view::npos ||
                (one_slash && !kind_of(written.substr(0, slash)).empty());
    return bare ? fmt::format("{}/{}", ns, written) : std::string(written);
}

Result<std::vector<IpAddress>> log_addresses(const control::ObjectStore& store,
                                             const model::Snapshot& snapshot,
                                             std::string_view target) {
    std::size_t first = target.find('/');
    std::size_t last = target.rfind('/');
    auto slashes = std::ranges::count(target, '/');
    if (slashes < 1 || slashes > 2) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("\"{:.200}\" is neither POD, KIND/NAME, NAMESPACE/POD nor "
                                "NAMESPACE/KIND/NAME",
                                target));
    }
    std::string ns(target.substr(0, first));
    std::string name(target.substr(last + 1));
    std::string_view written =
        first == last ? std::string_view("pod") : target.substr(first + 1, last - first - 1);
    std::string_view kind = kind_of(written);
    if (kind.empty()) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("\"{:.80}\" has no pods: want pod, deployment, replicaset, "
                                "statefulset, daemonset, job or service",
                                written));
    }
    std::vector<std::string> names{name};
    if (kind != "Pod") {
        names = pods_of(store, ns, kind, name);
    }
    std::vector<IpAddress> out;
    for (const auto& workload : snapshot.workloads()) {
        if (workload->ns == ns && std::ranges::find(names, workload->name) != names.end()) {
            std::ranges::copy(workload->addresses, std::back_inserter(out));
        }
    }
    if (out.empty()) {
        std::string what =
            kind == "Pod" ? fmt::format("no pod \"{}/{}\" is known here", ns, name)
                          : fmt::format("no pod of {} \"{}/{}\" is known here", written, ns, name);
        return fail(ErrorKind::not_found, what + "; see orlopctl config workloads");
    }
    return out;
}

}  // namespace orlop::app
