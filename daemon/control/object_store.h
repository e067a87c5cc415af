// ObjectStore: every object's last good version, in a stable order of creation, with its status.
//
// The idea: a source (a file, later the Kubernetes API) hands over all its documents at once;
// replace_source() takes the good ones, keeps the last good version of those that turned bad, and
// drops those that vanished. Nothing else mutates the store. When two sources define the same
// object, the one that changed last is in force and the status says so. A source that cannot be
// read or parsed keeps all its objects.
//
// Order of creation: ObjectMeta::created_ns where written, else first sight; used by the conflict
// rules. Lifetime: owned by the control thread; entries are valid until the next mutation.
//
//     store.replace_source(path, decode_text(text, options), mtime_ns);
//     for (const StoredObject* entry : store.objects()) ...
#pragma once

#include "daemon/control/decode.h"
#include "daemon/control/finding.h"
#include "daemon/control/objects/object.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::control {

enum class ObjectState : unsigned char {
    accepted,  // the newest version is in force
    held,      // the newest version is refused; the last good one stays in force
    refused,   // no version was ever good
};
const char* state_name(ObjectState state);

struct StoredObject {
    ObjectKey key;
    ObjectState state = ObjectState::refused;
    ObjectPtr object;             // in force; null when refused
    std::string source;           // that provides the newest version
    int line = 0;                 // of the newest version
    std::int64_t created_ns = 0;  // effective creation time
    std::uint64_t sequence = 0;   // first-seen order; breaks ties
    Findings findings;            // errors of the newest version, warnings
};

struct SourceStatus {
    std::string source;
    Findings errors;  // could not be read or parsed; empty when fine
    std::size_t objects = 0;
    std::size_t ignored = 0;
};

// An object in force became another one, appeared or vanished; or one of which no version is good
// did (then both are null: what it was meant to say matters to those that fail closed).
struct ObjectChange {
    ObjectKey key;
    ObjectPtr before;
    ObjectPtr after;
};

class ObjectStore {
public:
    ObjectStore();
    ~ObjectStore();
    ObjectStore(ObjectStore&&) noexcept;
    ObjectStore& operator=(ObjectStore&&) noexcept;

    // `seen_ns`: when the content came into being (a file's mtime); the creation time of objects
    // that do not say. Returns whether any object in force changed.
    bool replace_source(const std::string& source, DecodedText documents, std::int64_t seen_ns);
    bool remove_source(const std::string& source);
    // The source exists but cannot be read: everything it provided stays in force.
    void fail_source(const std::string& source, Finding error);

    // Grows with every change of an object in force.
    std::uint64_t revision() const;
    // What changed since the store had `revision`, each object once; nothing when that is too long
    // ago to tell.
    std::optional<std::vector<ObjectChange>> changes_since(std::uint64_t revision) const;
    // Grows whenever findings() may say something else.
    std::uint64_t findings_revision() const;

    // All objects, by (kind, namespace, name). Kind "" means all; ns "" means all.
    std::vector<const StoredObject*> objects(std::string_view kind = "",
                                             std::string_view ns = "") const;
    std::size_t object_count() const;
    const StoredObject* find(const ObjectKey& key) const;
    // Objects in force of one kind in order of creation (created_ns, sequence, name, namespace).
    std::vector<ObjectPtr> in_creation_order(std::string_view kind) const;

    std::vector<SourceStatus> sources() const;
    // Every finding of every object and source, errors first.
    Findings findings() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace orlop::control
