// compile: the store's objects in force become one immutable Snapshot.
//
// Deterministic: the same objects in the same order of creation give the same tables. Compilation
// never fails; what cannot be resolved is reported as findings and fails closed (a route choice to
// nothing answers 503). A VirtualService version that names a subset nobody defines yet is held in
// its last good version, for which the Compiler remembers what was good; a Compiler that has seen
// nothing good answers 503 for that choice.
//
// Lifetime: one Compiler per store, control thread; the Snapshot may go anywhere.
//
//     Compiler compiler;
//     CompileResult result = compiler.compile(store, {.node = "n1", .generation = 7});
//     publish(result.snapshot);
#pragma once

#include "daemon/control/compile/credentials.h"
#include "daemon/control/compile/endpoint_memory.h"
#include "daemon/control/compile/service_entries.h"
#include "daemon/control/finding.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace orlop::control {

struct CompileOptions {
    std::string node;  // our node's name: which pods are local
    std::uint64_t generation = 1;
    const DnsAnswers* dns = nullptr;  // null: names are not looked up
};

struct CompileResult {
    model::SnapshotPtr snapshot;
    Findings findings;  // conflicts, unknown references, objects held back; stable order
    std::set<std::string> dns_names;  // what ServiceEntries want looked up
};

// What earlier compilations found good.
struct CompileMemory {
    std::map<ObjectKey, ObjectPtr> virtual_services;
    // "host|subset" of a client scope's lookup -> its definition
    std::map<std::string, std::shared_ptr<const SubsetSpec>> subsets;
    CredentialFiles files;
    std::map<std::string, std::string> tls_verdicts;  // by key of TlsTerms; empty text: good
    EndpointMemory endpoints;                         // verdicts and hash tables
};

class Compiler {
public:
    CompileResult compile(const ObjectStore& store, const CompileOptions& options);
    // A certificate, key or CA file that the last compilation read is another one now.
    bool files_changed() const { return memory_.files.changed(); }

private:
    CompileMemory memory_;
};

// Without a past: for `analyze` and tests.
CompileResult compile(const ObjectStore& store, const CompileOptions& options);

}  // namespace orlop::control
