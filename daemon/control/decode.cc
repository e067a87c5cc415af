#include "daemon/control/decode.h"

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>

namespace orlop::control {
namespace {

enum class Scope : unsigned char { namespaced, cluster };
using Decoder = ObjectSpec (*)(const DecodeContext&);

struct Kind {
    std::string_view group;  // "" is Kubernetes' core
    std::string_view name;
    std::initializer_list<std::string_view> versions;
    Scope scope;
    Decoder decode;
    Origin origin = Origin::config;
};

template <class T> ObjectSpec decode_metadata_only(const DecodeContext&) {
    return T{};
}

ObjectSpec decode_recorded(const DecodeContext& context) {
    context.report.warn("ORL003", context.root.line, "", "accepted, not enforced yet");
    return Recorded{};
}

constexpr std::initializer_list<std::string_view> v1 = {"v1"};
constexpr std::initializer_list<std::string_view> networking = {"v1", "v1beta1", "v1alpha3"};
constexpr std::initializer_list<std::string_view> security = {"v1", "v1beta1"};
constexpr std::initializer_list<std::string_view> legacy = {"v1alpha2"};

constexpr Kind kinds[] = {
    {"", "Namespace", v1, Scope::cluster, decode_metadata_only<NamespaceSpec>},
    {"", "Pod", v1, Scope::namespaced, decode_pod},
    {"", "Service", v1, Scope::namespaced, decode_service},
    {"", "Endpoints", v1, Scope::namespaced, decode_endpoints},
    {"discovery.k8s.io", "EndpointSlice", v1, Scope::namespaced, decode_endpoint_slice},
    {"", "ServiceAccount", v1, Scope::namespaced, decode_metadata_only<ServiceAccountSpec>},
    {"", "Node", v1, Scope::cluster, decode_node},
    {"", "Secret", v1, Scope::namespaced, decode_secret},
    {"networking.k8s.io", "NetworkPolicy", v1, Scope::namespaced, decode_network_policy},
    {"networking.istio.io",
     "VirtualService",
     networking,
     Scope::namespaced,
     decode_virtual_service},
    {"networking.istio.io",
     "DestinationRule",
     networking,
     Scope::namespaced,
     decode_destination_rule},
    {"networking.istio.io", "Gateway", networking, Scope::namespaced, decode_gateway},
    {"networking.istio.io", "ServiceEntry", networking, Scope::namespaced, decode_service_entry},
    {"networking.istio.io", "WorkloadEntry", networking, Scope::namespaced, decode_workload_entry},
    {"networking.istio.io", "Sidecar", networking, Scope::namespaced, decode_sidecar},
    {"security.istio.io",
     "PeerAuthentication",
     security,
     Scope::namespaced,
     decode_peer_authentication},
    {"security.istio.io",
     "AuthorizationPolicy",
     security,
     Scope::namespaced,
     decode_authorization_policy},
    {"security.istio.io",
     "RequestAuthentication",
     security,
     Scope::namespaced,
     refuse_request_authentication},
    {"config.istio.io", "RouteRule", legacy, Scope::namespaced, decode_route_rule},
    {"config.istio.io", "DestinationPolicy", legacy, Scope::namespaced, decode_destination_policy},
    {"config.istio.io", "EgressRule", legacy, Scope::namespaced, decode_recorded},
    {"config.istio.io", "memquota", legacy, Scope::namespaced, decode_memquota},
    {"config.istio.io", "quota", legacy, Scope::namespaced, decode_quota_instance},
    {"config.istio.io", "rule", legacy, Scope::namespaced, decode_mixer_rule},
    {"orlop.dev", "MeshConfig", v1, Scope::cluster, decode_mesh_config},
    {"orlop.dev", "RateLimit", v1, Scope::namespaced, decode_rate_limit},
    {"orlop.dev", "PodSandbox", v1, Scope::namespaced, decode_pod_sandbox, Origin::sandbox},
    {"orlop.dev", "NodeStatus", v1, Scope::cluster, decode_node_status},
};

// Known, and none of the mesh's business: users apply whole files.
constexpr std::string_view ignored_kinds[] = {
    "/ConfigMap",
    "/Event",
    "/LimitRange",
    "/PersistentVolume",
    "/PersistentVolumeClaim",
    "/PodTemplate",
    "/ReplicationController",
    "/ResourceQuota",
    "apiextensions.k8s.io/CustomResourceDefinition",
    "apps/DaemonSet",
    "apps/Deployment",
    "apps/ReplicaSet",
    "apps/StatefulSet",
    "extensions/Deployment",
    "autoscaling/HorizontalPodAutoscaler",
    "batch/CronJob",
    "batch/Job",
    "coordination.k8s.io/Lease",
    "networking.k8s.io/Ingress",
    "networking.k8s.io/IngressClass",
    "policy/PodDisruptionBudget",
    "rbac.authorization.k8s.io/ClusterRole",
    "rbac.authorization.k8s.io/ClusterRoleBinding",
    "rbac.authorization.k8s.io/Role",
    "rbac.authorization.k8s.io/RoleBinding",
    "scheduling.k8s.io/PriorityClass",
    "storage.k8s.io/StorageClass",
};

struct ApiVersion {
    std::string_view group;
    std::string_view version;
};

ApiVersion split_api_version(std::string_view text) {
    std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return {"", text};
    }
    return {text.substr(0, slash), text.substr(slash + 1)};
}

std::int64_t parse_fraction_ns(std::string_view digits) {
    std::int64_t value = 0;
    for (std::size_t i = 0; i < 9; ++i) {
        value = value * 10 + (i < digits.size() ? digits[i] - '0' : 0);
    }
    return value;
}

// RFC 3339 in UTC: 2026-01-02T03:04:05Z, with up to nine digits of fraction. Nanoseconds.
std::optional<std::int64_t> parse_time(std::string_view text) {
    auto number = [&](std::size_t at, std::size_t length) -> int {
        int value = -1;
        auto [end, error] = std::from_chars(text.data() + at, text.data() + at + length, value);
        return error == std::errc() && end == text.data() + at + length ? value : -1;
    };
    if (text.size() < 20 || text.size() > 30 || text.back() != 'Z' || text[4] != '-' ||
        text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
        return std::nullopt;
    }
    auto date = std::chrono::year_month_day(std::chrono::year(number(0, 4)),
                                            std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                            std::chrono::day(static_cast<unsigned>(number(8, 2))));
    int hour = number(11, 2);
    int minute = number(14, 2);
    int second = number(17, 2);
    std::string_view fraction = text.substr(19, text.size() - 20);
    bool in_range = hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 &&
                    second <= 60 && date.year() >= std::chrono::year(1970) &&
                    date.year() < std::chrono::year(2200);
    if (!date.ok() || !in_range) {
        return std::nullopt;
    }
    if (!fraction.empty()) {
        bool digits =
            std::ranges::all_of(fraction.substr(1), [](char c) { return c >= '0' && c <= '9'; });
        if (fraction.front() != '.' || fraction.size() < 2 || !digits) {
            return std::nullopt;
        }
        fraction.remove_prefix(1);
    }
    auto days = std::chrono::sys_days(date).time_since_epoch();
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(days).count() + hour * 3600 +
                   minute * 60 + second;
    return seconds * 1'000'000'000 + parse_fraction_ns(fraction);
}

void read_created(FieldReader& metadata, ObjectMeta& meta) {
    auto stamp = metadata.text("creationTimestamp");
    if (stamp && !stamp->empty()) {
        meta.created_ns = parse_time(*stamp);
        if (!meta.created_ns) {
            metadata.error("creationTimestamp",
                           fmt::format("\"{:.40}\" is no time", *stamp),
                           "RFC 3339 in UTC, such as 2026-01-02T03:04:05Z");
        }
    }
    auto precise = meta.annotations.find("orlop.dev/created");
    if (precise == meta.annotations.end()) {
        return;
    }
    const std::string& text = precise->second;
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= 0) {
        meta.created_ns = value;
    } else if (auto time = parse_time(text)) {
        meta.created_ns = time;
    } else {
        metadata.error("annotations",
                       "orlop.dev/created is no time",
                       "nanoseconds since 1970, or RFC 3339 in UTC");
    }
}

ObjectMeta read_meta(FieldReader& metadata) {
    ObjectMeta meta;
    meta.labels = metadata.labels("labels");
    meta.annotations = metadata.labels("annotations");
    meta.uid = metadata.text_or("uid", "");
    read_created(metadata, meta);
    metadata.each("ownerReferences", [&](const Node& item, const std::string& path) {
        FieldReader owner(metadata.report(), &item, path, UnknownFields::ignored);
        bool controls = owner.boolean("controller").value_or(true);
        if (controls && meta.owner_kind.empty()) {
            meta.owner_kind = owner.text_or("kind", "");
            meta.owner_name = owner.text_or("name", "");
        }
    });
    metadata.accept({"name",
                     "namespace",
                     "generateName",
                     "generation",
                     "resourceVersion",
                     "managedFields",
                     "finalizers",
                     "selfLink",
                     "deletionTimestamp",
                     "deletionGracePeriodSeconds",
                     "clusterName"});
    return meta;
}

const Kind* find_kind(std::string_view group, std::string_view name) {
    auto found = std::ranges::find_if(
        kinds, [&](const Kind& kind) { return kind.group == group && kind.name == name; });
    return found == std::end(kinds) ? nullptr : found;
}

bool is_ignored(std::string_view group, std::string_view name) {
    std::string full = std::string(group) + "/" + std::string(name);
    return std::ranges::find(ignored_kinds, full) != std::end(ignored_kinds);
}

void refuse_kind(Report& report,
                 const Node& document,
                 const ApiVersion& api,
                 std::string_view kind) {
    std::vector<std::string_view> names;
    for (const Kind& known : kinds) {
        if (known.name == kind) {
            report.error(document.line,
                         "apiVersion",
                         fmt::format("{:.40} of group \"{:.60}\" is unknown", kind, api.group),
                         fmt::format("write apiVersion: {}{}{}",
                                     known.group,
                                     known.group.empty() ? "" : "/",
                                     *known.versions.begin()));
            return;
        }
        names.push_back(known.name);
    }
    std::string_view near = nearest_name(kind, names);
    report.error(document.line,
                 "kind",
                 fmt::format("unknown kind \"{:.60}\" of apiVersion \"{:.60}{}{:.40}\"",
                             kind,
                             api.group,
                             api.group.empty() ? "" : "/",
                             api.version),
                 near.empty() ? "the mesh has no use for it; take it out of the directory"
                              : fmt::format("did you mean {}?", near));
}

bool versions_have(const Kind& kind, std::string_view version) {
    return std::ranges::find(kind.versions, version) != kind.versions.end();
}

void check_names(Report& report, const Node& document, const ObjectKey& key) {
    if (!is_dns_name(key.name)) {
        report.error(document.line,
                     "metadata.name",
                     key.name.empty() ? "the name is missing"
                                      : fmt::format("\"{:.80}\" is no DNS-1123 name", key.name),
                     "lower-case letters, digits, '-' and '.'");
    }
    if (!key.ns.empty() && !is_dns_label(key.ns)) {
        report.error(document.line,
                     "metadata.namespace",
                     fmt::format("\"{:.80}\" is no DNS-1123 label", key.ns));
    }
}

// Fields of an object of the mesh's own kinds; Kubernetes' kinds have many more.
void check_root_fields(Report& report, const Node& document, const Kind& kind) {
    bool ours = kind.group.ends_with("istio.io") || kind.group == "orlop.dev";
    FieldReader root(
        report, &document, "", ours ? UnknownFields::reported : UnknownFields::ignored);
    root.accept({"apiVersion", "kind", "metadata", "spec", "status"});
}

void decode_known(const Node& document,
                  const Kind& kind,
                  const DecodeOptions& options,
                  std::string_view api_version,
                  DecodedObject& out) {
    Report report(out.findings, out.key, options.file);
    report.watch(options.asked);
    if (kind.origin == Origin::sandbox && options.origin != Origin::sandbox) {
        report.error(document.line,
                     "kind",
                     fmt::format("{} is only accepted from the sandbox directory", kind.name),
                     "it names kernel paths; see --sandbox-dir");
        return;
    }
    check_names(report, document, out.key);
    ObjectMeta meta;
    {
        FieldReader metadata(report, document.find("metadata"), "metadata", UnknownFields::ignored);
        meta = read_meta(metadata);
    }
    check_root_fields(report, document, kind);
    DecodeContext context{document, report, meta, out.key};
    ObjectSpec spec = kind.decode(context);
    if (report.failed()) {
        return;
    }
    auto object = std::make_shared<Object>();
    object->key = out.key;
    object->api_version = std::string(api_version);
    object->ref = context.ref_at(document.line);
    bool bulky = std::holds_alternative<PodSpec>(spec) ||
                 std::holds_alternative<EndpointSliceSpec>(spec) ||
                 std::holds_alternative<SecretSpec>(spec);
    object->spec = std::move(spec);
    object->meta = std::move(meta);
    if (!bulky) {
        object->written = to_yaml(document);
        object->written.shrink_to_fit();
    }
    out.object = std::move(object);
}

void append_document(const Node& document, const DecodeOptions& options, DecodedText& out) {
    DecodedObject decoded = decode_object(document, options);
    if (decoded.key.name.empty() && !decoded.ignored) {
        out.errors.insert(out.errors.end(), decoded.findings.begin(), decoded.findings.end());
        return;
    }
    out.objects.push_back(std::move(decoded));
}

// The same object twice in one text: the later one would silently win.
void refuse_twins(const DecodeOptions& options, DecodedText& out) {
    std::set<ObjectKey> seen;
    for (DecodedObject& decoded : out.objects) {
        if (decoded.ignored || seen.insert(decoded.key).second) {
            continue;
        }
        Report report(decoded.findings, decoded.key, options.file);
        report.error(decoded.line,
                     "metadata.name",
                     "the object appears twice in this file",
                     "keep one of them");
        decoded.object = nullptr;
    }
}

}  // namespace

DecodedObject decode_object(const Node& document, const DecodeOptions& options) {
    DecodedObject out;
    out.line = document.line;
    Report file_report(out.findings, {}, options.file);
    if (!document.is_map()) {
        file_report.error(document.line,
                          "",
                          "found " + document.describe() +
                              ", want an object with apiVersion and kind");
        return out;
    }
    std::string_view api_text = document.text_of("apiVersion");
    std::string_view kind_text = document.text_of("kind");
    if (api_text.empty() || kind_text.empty()) {
        file_report.error(
            document.line, api_text.empty() ? "apiVersion" : "kind", "the field is missing");
        return out;
    }
    ApiVersion api = split_api_version(api_text);
    out.key.kind = std::string(kind_text.substr(0, 80));
    if (is_ignored(api.group, kind_text)) {
        out.ignored = true;
        return out;
    }
    const Node* metadata = document.find("metadata");
    if (metadata != nullptr) {
        out.key.name = std::string(metadata->text_of("name").substr(0, 254));
        out.key.ns = std::string(metadata->text_of("namespace").substr(0, 254));
    }
    const Kind* kind = find_kind(api.group, kind_text);
    if (kind != nullptr && kind->scope == Scope::cluster) {
        out.key.ns.clear();
    } else if (out.key.ns.empty()) {
        out.key.ns = options.default_namespace;
    }
    Report report(out.findings, out.key, options.file);
    if (kind == nullptr) {
        refuse_kind(report, document, api, kind_text);
    } else if (!versions_have(*kind, api.version)) {
        report.error(document.line,
                     "apiVersion",
                     fmt::format("{} has no version \"{:.40}\"", kind->name, api.version),
                     fmt::format("write {}", *kind->versions.begin()));
    } else {
        decode_known(document, *kind, options, api_text, out);
    }
    return out;
}

DecodedText decode_text(std::string_view text, const DecodeOptions& options) {
    DecodedText out;
    auto documents = parse_yaml(text);
    if (!documents) {
        Finding finding;
        finding.code = "ORL001";
        finding.file = options.file;
        finding.line = documents.error().line;
        finding.message = documents.error().error.context;
        finding.hint = "the objects of this file stay as they were";
        out.errors.push_back(std::move(finding));
        return out;
    }
    for (const Node& document : *documents) {
        const Node* items = document.find("items");
        bool is_list = document.text_of("kind") == "List" && items != nullptr && items->is_list();
        if (!is_list) {
            append_document(document, options, out);
            continue;
        }
        for (const Node& item : items->items) {
            append_document(item, options, out);
        }
    }
    refuse_twins(options, out);
    return out;
}

}  // namespace orlop::control
