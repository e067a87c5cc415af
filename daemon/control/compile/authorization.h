// AuthorizationBook: which AuthorizationPolicies apply to a pod, or to the gateway
// (istio-semantics §10).
//
// Scope: the policy's namespace, or the mesh in the root namespace; narrowed by a selector, or by
// the Services that targetRefs name. Principals are brought to the mesh's trust domain. Pods with
// the same policies share one Authorization.
//
// A policy of which no version was ever readable (a slip in a watched file) counts as one that
// refuses everything in its namespace: nobody knows what it was meant to close.
//
// Built once per compilation; one thread.
//
//     AuthorizationBook book(store, mesh, findings);
//     workload->authorization = book.of(*workload);
//     book.report(findings);
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"
#include "daemon/model/authorization.h"
#include "daemon/model/snapshot.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace orlop::control {

class AuthorizationBook {
public:
    AuthorizationBook(const ObjectStore& store, const model::MeshConfig& mesh);

    // By namespace and labels of `workload`.
    model::AuthorizationPtr of(const model::Workload& workload);
    // Takes a call of of() for `workload` back. False when report() has to be found out anew.
    bool forget(const model::Workload& workload);
    // Policies that chose no pod, or one that is not captured: nobody enforces them there.
    void report(FindingSink& findings) const;

private:
    struct Entry {
        std::string ns;
        model::ObjectRefPtr ref;
        const AuthorizationPolicySpec* spec = nullptr;
        model::AuthorizationPolicyPtr policy;        // principals of the mesh's trust domain
        std::vector<const model::Labels*> services;  // selectors of the targets
        std::size_t chosen = 0;                      // pods
        // A chosen pod that is not in the mesh, by namespace and name: the first of them.
        std::pair<std::string, std::string> not_captured;
    };
    bool selects(const Entry& entry, const model::Workload& workload) const;
    void add_targets(const ObjectStore& store, Entry& entry) const;
    void add_unreadable(const StoredObject& stored);
    std::vector<std::size_t> applying(const model::Workload& workload) const;

    const model::MeshConfig& mesh_;
    std::vector<ObjectPtr> keep_alive_;
    AuthorizationPolicySpec whole_namespace_;  // of the unreadable ones
    std::vector<Entry> entries_;
    std::map<std::string, std::vector<std::size_t>> by_namespace_;
    std::map<std::vector<std::size_t>, model::AuthorizationPtr> shared_;
};

}  // namespace orlop::control
