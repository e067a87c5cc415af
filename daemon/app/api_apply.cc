#include "daemon/app/api_apply.h"

#include "daemon/control/objects/validate.h"
#include "daemon/control/yaml_document.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

namespace orlop::app {
namespace {

using control::Finding;
using control::Node;
using control::ObjectKey;

// First words of every file we write: what tells it from one that a person keeps there.
constexpr std::string_view mark = "# Written by orlopctl apply";
constexpr std::string_view created_annotation = "orlop.dev/created";

struct KindName {
    std::string_view name;
    std::string_view plural;
    std::string_view abbreviation;  // kubectl's
};
constexpr std::array kind_names = {
    KindName{"VirtualService", "virtualservices", "vs"},
    KindName{"DestinationRule", "destinationrules", "dr"},
    KindName{"PeerAuthentication", "peerauthentications", "pa"},
    KindName{"AuthorizationPolicy", "authorizationpolicies", "ap"},
    KindName{"Gateway", "gateways", "gw"},
    KindName{"ServiceEntry", "serviceentries", "se"},
    KindName{"Sidecar", "sidecars", ""},
    KindName{"MeshConfig", "meshconfigs", "mc"},
    KindName{"NetworkPolicy", "networkpolicies", "netpol"},
    KindName{"Namespace", "namespaces", "ns"},
    KindName{"Pod", "pods", "po"},
    KindName{"Service", "services", "svc"},
    KindName{"ServiceAccount", "serviceaccounts", "sa"},
    KindName{"Endpoints", "endpoints", "ep"},
    KindName{"EndpointSlice", "endpointslices", ""},
    KindName{"Node", "nodes", "no"},
    KindName{"NodeStatus", "nodestatuses", ""},
    KindName{"PodSandbox", "podsandboxes", ""},
    KindName{"Secret", "secrets", ""},
    KindName{"RouteRule", "routerules", ""},
    KindName{"DestinationPolicy", "destinationpolicies", ""},
    KindName{"EgressRule", "egressrules", ""},
};

bool lab_runs(std::string_view kind) {
    return kind == "Namespace" || kind == "Pod" || kind == "Service" || kind == "ServiceAccount" ||
           kind == "Node";
}

Finding refusal(const ObjectKey& key,
                const std::string& file,
                int line,
                std::string message,
                std::string hint) {
    Finding finding;
    finding.code = "ORL001";
    finding.object = key;
    finding.file = file;
    finding.line = line;
    finding.message = std::move(message);
    finding.hint = std::move(hint);
    return finding;
}

std::string_view without_first_line(std::string_view text) {
    std::size_t end = text.find('\n');
    return end == std::string_view::npos ? "" : text.substr(end + 1);
}

// The file that may be replaced for an object, or why none may.
struct Place {
    std::string path;
    std::string before;   // its present content; empty: a new file
    std::string refused;  // message; empty: allowed
    std::string hint;
};

Place place_of(const control::StoredObject* known,
               const std::string& directory,
               const ObjectKey& key) {
    Place place;
    place.path = directory + "/" + object_file_name(key);
    if (known == nullptr) {
        return place;
    }
    std::string lab_path = directory + "/lab-" + object_file_name(key);
    if (known->source == lab_path && lab_runs(key.kind)) {
        place.refused = "the lab runs this object";
        place.hint = "use orlopctl lab apply or orlopctl lab delete";
        return place;
    }
    auto text = lab::read_text_file(known->source);
    place.before = text ? *text : "";
    bool ours = known->source == lab_path ||
                (known->source == place.path && place.before.starts_with(mark));
    if (!ours) {
        place.refused = "is defined in " + known->source + ", which orlopctl did not write";
        place.hint = "edit that file; a change of it takes effect by itself";
        return place;
    }
    place.path = known->source;
    return place;
}

Node text_node(std::string text) {
    Node node;
    node.kind = Node::Kind::scalar;
    node.style = Node::Style::quoted;
    node.text = std::move(text);
    return node;
}

Node& member(Node& map, std::string_view key) {
    auto found = std::ranges::find(map.fields, key, &control::Field::key);
    if (found == map.fields.end()) {
        map.fields.push_back({std::string(key), 0, Node{}});
        found = map.fields.end() - 1;
    }
    return found->value;
}

std::string
content(Node document, const ObjectKey& key, const std::string& file, std::int64_t created_ns) {
    Node& metadata = member(document, "metadata");
    if (!key.ns.empty()) {
        member(metadata, "namespace") = text_node(key.ns);
    }
    Node& annotations = member(metadata, "annotations");
    annotations.kind = Node::Kind::map;
    member(annotations, created_annotation) = text_node(std::to_string(created_ns));
    std::string shown;
    for (char c : file.substr(0, 200)) {  // a comment is one line
        shown += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
    std::string text = fmt::format("{} (from {})\n", mark, shown.empty() ? "-" : shown);
    text += control::to_yaml(document);
    return text.ends_with('\n') ? text : text + "\n";
}

std::vector<Node> documents_of(const ApplyRequest& request, control::Findings& refusals) {
    auto parsed = control::parse_yaml(request.text);
    if (!parsed) {
        Finding finding;
        finding.code = "ORL001";
        finding.file = request.file;
        finding.line = parsed.error().line;
        finding.message = parsed.error().error.context;
        refusals.push_back(std::move(finding));
        return {};
    }
    std::vector<Node> out;
    for (Node& document : *parsed) {
        const Node* items = document.find("items");
        if (document.text_of("kind") == "List" && items != nullptr && items->is_list()) {
            out.insert(out.end(), items->items.begin(), items->items.end());
        } else {
            out.push_back(std::move(document));
        }
    }
    if (out.empty()) {
        refusals.push_back(refusal({},
                                   request.file,
                                   0,
                                   "no object in it",
                                   "write at least one document with apiVersion and kind"));
    }
    return out;
}

ObjectChange ignored_change(const Node& document, const ObjectKey& key) {
    ObjectChange change;
    change.key = key;
    if (const Node* metadata = document.find("metadata")) {
        change.key.name = std::string(metadata->text_of("name").substr(0, 254));
    }
    change.action = "ignored";
    return change;
}

struct Creation {
    std::int64_t next_ns;
};

void plan_one(const control::ObjectStore& store,
              const std::string& directory,
              const ApplyRequest& request,
              const Node& document,
              Creation& creation,
              ApplyPlan& plan) {
    auto decoded =
        control::decode_object(document, {.file = request.file, .default_namespace = request.ns});
    if (decoded.ignored) {
        plan.changes.push_back(ignored_change(document, decoded.key));
        return;
    }
    for (Finding& finding : decoded.findings) {
        auto& list = finding.severity == control::Severity::error ? plan.refusals : plan.warnings;
        list.push_back(std::move(finding));
    }
    if (!decoded.object) {
        return;
    }
    const ObjectKey& key = decoded.key;
    bool twin = std::ranges::any_of(plan.changes,
                                    [&](const ObjectChange& other) { return other.key == key; });
    if (twin) {
        plan.refusals.push_back(refusal(key,
                                        request.file,
                                        decoded.line,
                                        "appears twice in one request",
                                        "keep one of the two"));
        return;
    }
    const auto* known = store.find(key);
    Place place = place_of(known, directory, key);
    if (!place.refused.empty()) {
        plan.refusals.push_back(
            refusal(key, request.file, decoded.line, place.refused, place.hint));
        return;
    }
    std::int64_t created = known != nullptr                  ? known->created_ns
                           : decoded.object->meta.created_ns ? *decoded.object->meta.created_ns
                                                             : creation.next_ns++;
    ObjectChange change{key, "created", place.path, content(document, key, request.file, created)};
    if (known != nullptr) {
        bool same = without_first_line(place.before) == without_first_line(change.text);
        change.action = same ? "unchanged" : "configured";
    }
    if (change.action == "unchanged") {
        change.path.clear();
    }
    plan.changes.push_back(std::move(change));
}

void plan_removal(const control::ObjectStore& store,
                  const std::string& directory,
                  const ObjectKey& key,
                  ApplyPlan& plan) {
    const auto* known = store.find(key);
    if (known == nullptr) {
        plan.changes.push_back({key, "not found", "", ""});
        return;
    }
    Place place = place_of(known, directory, key);
    if (!place.refused.empty()) {
        plan.refusals.push_back(
            refusal(key,
                    known->source,
                    known->line,
                    place.refused,
                    place.hint.starts_with("edit") ? "remove it from that file" : place.hint));
        return;
    }
    plan.changes.push_back({key, "deleted", place.path, ""});
}

}  // namespace

std::string object_file_name(const ObjectKey& key) {
    std::string lower = control::to_lower(key.kind);
    return key.ns.empty() ? fmt::format("{}-{}.yaml", lower, key.name)
                          : fmt::format("{}-{}-{}.yaml", lower, key.ns, key.name);
}

std::string canonical_kind(std::string_view word) {
    std::string lower = control::to_lower(word);
    for (const KindName& kind : kind_names) {
        if (lower == kind.plural || control::to_lower(kind.name) == lower ||
            (!kind.abbreviation.empty() && lower == kind.abbreviation)) {
            return std::string(kind.name);
        }
    }
    return "";
}

ApplyPlan plan_apply(const control::ObjectStore& store,
                     const std::string& directory,
                     const ApplyRequest& request,
                     std::int64_t now_ns) {
    ApplyPlan plan;
    Creation creation{now_ns};
    for (const Node& document : documents_of(request, plan.refusals)) {
        plan_one(store, directory, request, document, creation, plan);
    }
    return plan;
}

ApplyPlan plan_delete(const control::ObjectStore& store,
                      const std::string& directory,
                      const ApplyRequest& request) {
    ApplyPlan plan;
    std::set<ObjectKey> seen;
    for (const Node& document : documents_of(request, plan.refusals)) {
        auto decoded = control::decode_object(
            document, {.file = request.file, .default_namespace = request.ns});
        if (decoded.ignored) {
            plan.changes.push_back(ignored_change(document, decoded.key));
        } else if (decoded.key.name.empty()) {
            plan.refusals.insert(
                plan.refusals.end(), decoded.findings.begin(), decoded.findings.end());
        } else if (seen.insert(decoded.key).second) {
            plan_removal(store, directory, decoded.key, plan);
        }
    }
    return plan;
}

ApplyPlan
plan_delete(const control::ObjectStore& store, const std::string& directory, const ObjectKey& key) {
    ApplyPlan plan;
    plan_removal(store, directory, key, plan);
    return plan;
}

Result<void> carry_out(const ApplyPlan& plan) {
    for (const ObjectChange& change : plan.changes) {
        if (change.path.empty()) {
            continue;
        }
        if (change.action == "deleted") {
            lab::remove_file(change.path);
            continue;
        }
        auto readers = change.key.kind == "Secret" ? lab::Readers::owner : lab::Readers::everybody;
        if (auto written = lab::write_atomically(change.path, change.text, readers); !written) {
            return fail(written.error().kind,
                        change.key.to_string() + ": " + written.error().context +
                            "; check that the configuration directory can be written");
        }
    }
    return {};
}

}  // namespace orlop::app
