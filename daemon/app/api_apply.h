// Objects written by `orlopctl apply`: from a request's YAML to files of the configuration
// directory.
//
// A plan is made first, by pure look-ups; nothing is written while any document is refused.
// Each object gets a file of its own, `<kind>-<namespace>-<name>.yaml`, replaced atomically, whose
// annotation orlop.dev/created keeps the object's place in the order of creation over later
// changes. Objects in files that people wrote are left to them: the refusal names the file.
//
// Values and blocking file calls; control thread.
//
//     ApplyPlan plan = plan_apply(store, directory, {.text = body, .file = "a.yaml"}, now_ns);
//     if (plan.refusals.empty()) carry_out(plan);
#pragma once

#include "daemon/base/error.h"
#include "daemon/control/object_store.h"

#include <cstdint>
#include <string>
#include <vector>

namespace orlop::app {

struct ApplyRequest {
    std::string text;            // YAML or JSON, any number of documents
    std::string file;            // as the user named it, for messages
    std::string ns = "default";  // for objects that name none
};

struct ObjectChange {
    control::ObjectKey key;
    std::string action;  // created, configured, unchanged, deleted, ignored, not found
    std::string path;    // file to write or to remove; empty: nothing to do
    std::string text;    // new content; empty: remove the file
};

struct ApplyPlan {
    std::vector<ObjectChange> changes;
    control::Findings refusals;  // not empty: nothing may be written
    control::Findings warnings;  // about the documents themselves
};

// `now_ns`: wall clock, nanoseconds since the epoch; each new object gets the next nanosecond.
ApplyPlan plan_apply(const control::ObjectStore& store,
                     const std::string& directory,
                     const ApplyRequest& request,
                     std::int64_t now_ns);
// Only kind, namespace and name of each document count.
ApplyPlan plan_delete(const control::ObjectStore& store,
                      const std::string& directory,
                      const ApplyRequest& request);
// One object by name; `key.kind` must be as Kubernetes spells it.
ApplyPlan plan_delete(const control::ObjectStore& store,
                      const std::string& directory,
                      const control::ObjectKey& key);

// Stops at the first file that cannot be written; the error names it.
Result<void> carry_out(const ApplyPlan& plan);

// `<kind>-<namespace>-<name>.yaml` in lower case; no namespace for cluster-wide kinds.
std::string object_file_name(const control::ObjectKey& key);

// "virtualservice", "virtualservices", "vs", ... to "VirtualService"; empty when unknown.
std::string canonical_kind(std::string_view word);

}  // namespace orlop::app
