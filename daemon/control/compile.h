// compile: the store's objects in force become one immutable Snapshot.
//
// Deterministic: the same objects in the same order of creation give the same tables. Compilation
// never fails; what cannot be resolved is reported as findings and fails closed (a route choice to
// nothing answers 503). A VirtualService version that names a subset nobody defines yet is held in
// its last good version, for which the Compiler remembers what was good; a Compiler that has seen
// nothing good answers 503 for that choice.
//
// A Compiler also remembers its last compilation: when only pods and their endpoints have changed
// since, it makes the next Snapshot of that one and compiles what they concern (compile/patch.h).
// The result is the same as that of compiling everything.
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

enum class CompileExtent : unsigned char { what_changed, everything };

struct CompileOptions {
    std::string node;  // our node's name: which pods are local
    std::uint64_t generation = 1;
    const DnsAnswers* dns = nullptr;  // null: names are not looked up
    CompileExtent extent = CompileExtent::what_changed;
};

struct CompileResult {
    model::SnapshotPtr snapshot;
    Findings findings;  // conflicts, unknown references, objects held back; stable order
    std::set<std::string> dns_names;                   // what ServiceEntries want looked up
    CompileExtent extent = CompileExtent::everything;  // of the work that was done
    bool findings_changed = true;                      // since the compilation before
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

struct CompileState;

class Compiler {
public:
    Compiler();
    ~Compiler();
    CompileResult compile(const ObjectStore& store, const CompileOptions& options);
    // A certificate, key or CA file that the last compilation read is another one now.
    bool files_changed() const { return memory_.files.changed(); }

private:
    CompileResult compile_everything(const ObjectStore& store, const CompileOptions& options);

    CompileMemory memory_;
    std::unique_ptr<CompileState> last_;  // null: nothing that could be patched
};

// Without a past: for `analyze` and tests.
CompileResult compile(const ObjectStore& store, const CompileOptions& options);

}  // namespace orlop::control
