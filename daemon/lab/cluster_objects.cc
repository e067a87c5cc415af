// Objects of the cluster: what is wanted, as manifests say it.
#include "daemon/lab/cluster.h"
#include "daemon/lab/notes.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace orlop::lab {

namespace {

// kubectl's spellings of the kinds the lab runs; other kinds are taken as they are.
std::string canonical_kind(const std::string& word) {
    std::string lower;
    for (const char c : word) {
        lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    static constexpr const char* spellings[][2] = {{"deploy", "deployment"},
                                                   {"deployments", "deployment"},
                                                   {"jobs", "job"},
                                                   {"po", "pod"},
                                                   {"pods", "pod"},
                                                   {"svc", "service"},
                                                   {"services", "service"},
                                                   {"ns", "namespace"},
                                                   {"namespaces", "namespace"},
                                                   {"sa", "serviceaccount"},
                                                   {"serviceaccounts", "serviceaccount"},
                                                   {"vs", "virtualservice"},
                                                   {"dr", "destinationrule"},
                                                   {"pa", "peerauthentication"},
                                                   {"gw", "gateway"}};
    for (const auto& [from, to] : spellings) {
        if (lower == from) {
            return to;
        }
    }
    return lower;
}

std::string said(const char* kind, const std::string& name, const char* what) {
    return fmt::format("{}/{} {}", kind, name, what);
}

Result<void> change_one(Labels& values, const std::string& change) {
    const std::size_t equals = change.find('=');
    if (equals != std::string::npos && equals > 0) {
        values[change.substr(0, equals)] = change.substr(equals + 1);
        return {};
    }
    if (change.size() > 1 && change.back() == '-') {
        values.erase(change.substr(0, change.size() - 1));
        return {};
    }
    return fail(ErrorKind::invalid_input, change + ": must be key=value or key-");
}

}  // namespace

Cluster::Cluster(LabConfig config, LabFile images)
    : config_(std::move(config)), images_(std::move(images)), layout_(config_) {}

void Cluster::write_object(const char* kind, const Key& key, const std::string& text) {
    const std::string path =
        layout_.config_dir() + "/" + object_file_name(kind, key.first, key.second);
    if (auto written = write_atomically(path, text); !written) {
        note("{}", written.error().context);
    }
}

void Cluster::remove_object_file(const std::string& kind, const Key& key) {
    remove_file(layout_.config_dir() + "/" + object_file_name(kind, key.first, key.second));
}

Result<void> Cluster::check_commands(const std::string& object, const PodTemplate& pod) const {
    for (const Container& container : pod.containers) {
        if (auto argv = command_of(container, images_); !argv) {
            return fail(argv.error().kind, object + ": " + argv.error().context);
        }
    }
    if (!pod.node_name.empty() &&
        std::none_of(nodes_.begin(), nodes_.end(), [&pod](const Node& node) {
            return node_name(node.number) == pod.node_name;
        })) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: no node {}: the lab has {}",
                                object,
                                pod.node_name,
                                nodes_.size() == 1 ? "n1" : "n1 and n2"));
    }
    return {};
}

Result<void> Cluster::check(const Manifest& manifest) const {
    for (const DeploymentObject& object : manifest.deployments) {
        if (auto good = check_commands("deployment/" + object.meta.name, object.pod); !good) {
            return good;
        }
    }
    for (const JobObject& object : manifest.jobs) {
        if (auto good = check_commands("job/" + object.meta.name, object.pod); !good) {
            return good;
        }
    }
    for (const PodObject& object : manifest.pods) {
        if (auto good = check_commands("pod/" + object.meta.name, object.pod); !good) {
            return good;
        }
    }
    for (const ServiceObject& object : manifest.services) {
        if (object.cluster_ip.empty() || object.cluster_ip == "None") {
            continue;
        }
        if (auto number = service_number(object.cluster_ip); !number) {
            return fail(number.error().kind,
                        "service/" + object.meta.name + ": " + number.error().context);
        }
    }
    return {};
}

void Cluster::ensure_namespace(const std::string& ns, std::vector<std::string>& lines) {
    if (!namespaces_.contains({"", ns})) {
        apply_simple(namespaces_, "Namespace", {"", ns, {}, {}});
        lines.push_back(said("namespace", ns, "created"));
    }
    if (!accounts_.contains({ns, "default"})) {
        apply_simple(accounts_, "ServiceAccount", {ns, "default", {}, {}});
    }
}

std::string Cluster::apply_simple(std::map<Key, Simple>& kept, const char* kind, const Meta& meta) {
    const Key key{meta.ns, meta.name};
    const bool is_namespace = meta.ns.empty();
    const auto found = kept.find(key);
    Simple object{meta, found == kept.end() ? now_rfc3339() : found->second.created};
    if (is_namespace) {
        object.meta.labels["kubernetes.io/metadata.name"] = meta.name;
    }
    write_object(kind,
                 key,
                 is_namespace ? render_namespace(object.meta, object.created)
                              : render_service_account(object.meta, object.created));
    const char* what = found == kept.end() ? "created" : "configured";
    kept[key] = std::move(object);
    return said(is_namespace ? "namespace" : "serviceaccount", meta.name, what);
}

Result<std::string> Cluster::apply_service(const ServiceObject& object) {
    const Key key{object.meta.ns, object.meta.name};
    const auto found = services_.find(key);
    Service service{object, 0, found == services_.end() ? now_rfc3339() : found->second.created};
    if (object.cluster_ip == "None") {
        if (found != services_.end() && found->second.number != 0) {
            service_numbers_.give_back(found->second.number);
        }
    } else if (found != services_.end() && found->second.number != 0) {
        service.number = found->second.number;
    } else if (!object.cluster_ip.empty()) {
        const auto number = service_number(object.cluster_ip);
        if (!number || !service_numbers_.take_exactly(*number)) {
            return fail(ErrorKind::invalid_input,
                        fmt::format("service/{}: spec.clusterIP {} is taken or out of range",
                                    object.meta.name,
                                    object.cluster_ip));
        }
        service.number = *number;
    } else {
        const auto number = service_numbers_.take();
        if (!number) {
            return std::unexpected(number.error());
        }
        service.number = *number;
    }
    auto ips = service_ips(service);
    if (ips.empty()) {
        ips = {"None"};
    }
    write_object("Service", key, render_service(object, ips, service.created));
    const char* what = found == services_.end() ? "created" : "configured";
    services_[key] = std::move(service);
    return said("service", object.meta.name, what);
}

std::string Cluster::apply_deployment(const DeploymentObject& object) {
    const Key key{object.meta.ns, object.meta.name};
    const auto found = deployments_.find(key);
    Deployment deployment{object, hash_of(object.pod)};
    const char* what =
        found == deployments_.end() ? "created"
        : found->second.hash == deployment.hash && found->second.object.replicas == object.replicas
            ? "unchanged"
            : "configured";
    deployments_[key] = std::move(deployment);
    return said("deployment", object.meta.name, what);
}

std::string Cluster::apply_job(const JobObject& object) {
    const Key key{object.meta.ns, object.meta.name};
    if (jobs_.contains(key)) {
        return said("job", object.meta.name, "unchanged");  // a Job's template is immutable
    }
    jobs_[key].object = object;
    return said("job", object.meta.name, "created");
}

std::string Cluster::apply_pod(const PodObject& object) {
    for (auto& [uid, pod] : pods_) {
        if (pod.meta.ns != object.meta.ns || pod.meta.name != object.meta.name) {
            continue;
        }
        // As in Kubernetes only the metadata of a pod may change.
        pod.meta.labels = object.meta.labels;
        pod.meta.annotations = object.meta.annotations;
        if (pod.alive()) {
            write_pod(pod);
        }
        return said("pod", object.meta.name, "configured");
    }
    Pod pod;
    pod.meta = object.meta;
    pod.pod = object.pod;
    create_pod(std::move(pod), monotonic_now());
    return said("pod", object.meta.name, "created");
}

Result<std::string> Cluster::apply_other(const OtherObject& object) {
    const std::string path = layout_.config_dir() + "/" +
                             object_file_name(object.kind, object.meta.ns, object.meta.name);
    const auto before = read_text_file(path);
    const char* what = !before ? "created" : *before == object.text ? "unchanged" : "configured";
    if (!before || *before != object.text) {
        const auto readers = object.kind == "Secret" ? Readers::owner : Readers::everybody;
        if (auto written = write_atomically(path, object.text, readers); !written) {
            return std::unexpected(written.error());
        }
    }
    return said(canonical_kind(object.kind).c_str(), object.meta.name, what);
}

Result<std::vector<std::string>> Cluster::apply(const Manifest& manifest) {
    if (auto good = check(manifest); !good) {
        return std::unexpected(good.error());
    }
    std::vector<std::string> lines;
    const auto in_namespace = [this, &lines](const Meta& meta) {
        ensure_namespace(meta.ns, lines);
    };
    for (const NamespaceObject& object : manifest.namespaces) {
        lines.push_back(apply_simple(namespaces_, "Namespace", object.meta));
        ensure_namespace(object.meta.name, lines);
    }
    for (const ServiceAccountObject& object : manifest.service_accounts) {
        in_namespace(object.meta);
        lines.push_back(apply_simple(accounts_, "ServiceAccount", object.meta));
    }
    for (const ServiceObject& object : manifest.services) {
        in_namespace(object.meta);
        auto line = apply_service(object);
        if (!line) {
            return std::unexpected(line.error());
        }
        lines.push_back(*line);
    }
    for (const OtherObject& object : manifest.others) {
        auto line = apply_other(object);
        if (!line) {
            return std::unexpected(line.error());
        }
        lines.push_back(*line);
    }
    sync_services();
    for (const DeploymentObject& object : manifest.deployments) {
        in_namespace(object.meta);
        lines.push_back(apply_deployment(object));
    }
    for (const JobObject& object : manifest.jobs) {
        in_namespace(object.meta);
        lines.push_back(apply_job(object));
    }
    for (const PodObject& object : manifest.pods) {
        in_namespace(object.meta);
        lines.push_back(apply_pod(object));
    }
    reconcile(monotonic_now());
    return lines;
}

bool Cluster::drop_pods_of(const std::string& owner_kind, const Key& owner) {
    std::vector<std::string> finished;
    for (auto& [uid, pod] : pods_) {
        if (pod.owner_kind != owner_kind || pod.owner_name != owner.second ||
            pod.meta.ns != owner.first) {
            continue;
        }
        if (pod.alive()) {
            terminate(pod, monotonic_now());
        } else if (pod.phase != PodPhase::terminating) {
            finished.push_back(uid);
        }
    }
    for (const std::string& uid : finished) {
        discard(pods_.at(uid));
    }
    return true;
}

bool Cluster::drop_service(const Key& key) {
    const auto found = services_.find(key);
    if (found == services_.end()) {
        return false;
    }
    if (found->second.number != 0) {
        service_numbers_.give_back(found->second.number);
    }
    services_.erase(found);
    remove_object_file("Service", key);
    sync_services();
    return true;
}

bool Cluster::drop_namespace(const std::string& ns) {
    if (namespaces_.erase({"", ns}) == 0) {
        return false;
    }
    const auto keys_in = [&ns](const auto& objects) {
        std::vector<Key> keys;
        for (const auto& [key, object] : objects) {
            if (key.first == ns) {
                keys.push_back(key);
            }
        }
        return keys;
    };
    for (const Key& key : keys_in(deployments_)) {
        drop("deployment", key);
    }
    for (const Key& key : keys_in(jobs_)) {
        drop("job", key);
    }
    for (const Key& key : keys_in(services_)) {
        drop_service(key);
    }
    std::vector<Key> pods;
    for (const auto& [uid, pod] : pods_) {
        if (pod.meta.ns == ns) {
            pods.emplace_back(ns, pod.meta.name);
        }
    }
    for (const Key& key : pods) {
        drop("pod", key);
    }
    std::erase_if(accounts_, [this, &ns](const auto& entry) {
        if (entry.first.first != ns) {
            return false;
        }
        remove_object_file("ServiceAccount", entry.first);
        return true;
    });
    remove_object_file("Namespace", {"", ns});
    return true;
}

// One object by its canonical kind; false when there is none.
bool Cluster::drop(const std::string& kind, const Key& key) {
    if (kind == "deployment") {
        return deployments_.erase(key) != 0 && drop_pods_of("Deployment", key);
    }
    if (kind == "job") {
        return jobs_.erase(key) != 0 && drop_pods_of("Job", key);
    }
    if (kind == "service") {
        return drop_service(key);
    }
    if (kind == "namespace") {
        return drop_namespace(key.second);
    }
    if (kind == "serviceaccount") {
        remove_object_file("ServiceAccount", key);
        return accounts_.erase(key) != 0;
    }
    if (kind == "pod") {
        for (auto& [uid, pod] : pods_) {
            if (pod.meta.ns != key.first || pod.meta.name != key.second) {
                continue;
            }
            if (pod.alive()) {
                terminate(pod, monotonic_now());
            } else if (pod.phase != PodPhase::terminating) {
                discard(pod);
            }
            return true;
        }
        return false;
    }
    const std::string path =
        layout_.config_dir() + "/" + object_file_name(kind, key.first, key.second);
    const bool there = read_text_file(path).has_value();
    remove_file(path);
    return there;
}

Result<std::string>
Cluster::remove_object(const std::string& kind, const std::string& ns, const std::string& name) {
    const std::string canonical = canonical_kind(kind);
    if (name.empty() || name.find('/') != std::string::npos) {
        return fail(ErrorKind::invalid_input, "an object is named kind/name, as job/NAME");
    }
    if (!drop(canonical, {canonical == "namespace" ? "" : ns, name})) {
        return fail(ErrorKind::not_found,
                    fmt::format("{}/{} not found in namespace {}", canonical, name, ns));
    }
    reconcile(monotonic_now());
    return fmt::format("{}/{} deleted", canonical, name);
}

Result<std::vector<std::string>> Cluster::remove(const Manifest& manifest) {
    std::vector<std::string> lines;
    const auto one = [this, &lines](const std::string& kind, const Meta& meta) {
        auto line = remove_object(kind, meta.ns, meta.name);
        lines.push_back(line ? *line : line.error().context);
    };
    for (const DeploymentObject& object : manifest.deployments) {
        one("deployment", object.meta);
    }
    for (const JobObject& object : manifest.jobs) {
        one("job", object.meta);
    }
    for (const PodObject& object : manifest.pods) {
        one("pod", object.meta);
    }
    for (const ServiceObject& object : manifest.services) {
        one("service", object.meta);
    }
    for (const ServiceAccountObject& object : manifest.service_accounts) {
        one("serviceaccount", object.meta);
    }
    for (const OtherObject& object : manifest.others) {
        one(object.kind, object.meta);
    }
    for (const NamespaceObject& object : manifest.namespaces) {
        one("namespace", object.meta);
    }
    return lines;
}

Result<void> Cluster::scale(const std::string& ns, const std::string& deployment, int replicas) {
    const auto found = deployments_.find({ns, deployment});
    if (found == deployments_.end()) {
        return fail(ErrorKind::not_found,
                    fmt::format("deployment/{} not found in namespace {}", deployment, ns));
    }
    if (replicas < 0 || replicas > 200) {
        return fail(ErrorKind::invalid_input, "replicas must be 0 to 200");
    }
    found->second.object.replicas = replicas;
    reconcile(monotonic_now());
    return {};
}

Result<void> Cluster::change_meta(MetaField field,
                                  const std::string& ns,
                                  const std::string& object,
                                  const std::vector<std::string>& changes) {
    const std::size_t slash = std::min(object.find('/'), object.size());
    const std::string kind = canonical_kind(object.substr(0, slash));
    const std::string name = object.substr(std::min(slash + 1, object.size()));
    Meta* meta = nullptr;
    Pod* changed_pod = nullptr;
    if (kind == "namespace") {
        const auto found = namespaces_.find({"", name});
        meta = found == namespaces_.end() ? nullptr : &found->second.meta;
    } else if (kind == "pod") {
        for (auto& [uid, pod] : pods_) {
            if (pod.meta.ns == ns && pod.meta.name == name && pod.alive()) {
                changed_pod = &pod;
                meta = &pod.meta;
            }
        }
    }
    if (meta == nullptr) {
        return fail(ErrorKind::not_found,
                    fmt::format("{}: no such namespace (ns/NAME) or running pod (pod/NAME) in {}",
                                object,
                                ns));
    }
    Labels values = field == MetaField::labels ? meta->labels : meta->annotations;
    for (const std::string& change : changes) {
        if (auto done = change_one(values, change); !done) {
            return done;
        }
    }
    (field == MetaField::labels ? meta->labels : meta->annotations) = std::move(values);
    if (changed_pod != nullptr) {
        sync_services();
        write_pod(*changed_pod);
    } else {
        write_object(
            "Namespace", {"", name}, render_namespace(*meta, namespaces_.at({"", name}).created));
    }
    return {};
}

}  // namespace orlop::lab
