#include "daemon/control/object_store.h"

#include "daemon/base/limits.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <set>
#include <tuple>

namespace orlop::control {
namespace {

// What one source says about one object.
struct Version {
    std::string source;
    ObjectPtr good;  // last version of this source that was valid; null when none was
    int line = 0;    // of the newest version
    bool newest_is_good = false;
    Findings findings;        // of the newest version
    std::uint64_t order = 0;  // grows whenever the source changed the object
};

struct Entry {
    StoredObject shown;
    std::vector<Version> versions;  // one per source
};

struct Source {
    Findings errors;
    std::set<ObjectKey> keys;
    std::size_t ignored = 0;
};

bool same_object(const Object& a, const Object& b) {
    if (a.written.empty() || b.written.empty()) {
        return false;  // bulky kinds keep no text: taken for changed
    }
    return a.ref->line == b.ref->line && a.api_version == b.api_version && a.written == b.written;
}

}  // namespace

const char* state_name(ObjectState state) {
    switch (state) {
    case ObjectState::accepted:
        return "accepted";
    case ObjectState::held:
        return "held";
    case ObjectState::refused:
        break;
    }
    return "refused";
}

struct ObjectStore::State {
    std::map<ObjectKey, Entry> entries;
    std::map<std::string, Source> sources;
    std::uint64_t revision = 0;
    std::uint64_t next_sequence = 1;
    std::uint64_t next_order = 1;
    std::uint64_t findings_revision = 0;
    std::map<ObjectKey, const Entry*> told;  // entries with findings

    struct Note {
        std::uint64_t revision;  // that the store had before the change
        ObjectChange change;
    };
    std::deque<Note> journal;        // the oldest first
    std::uint64_t journal_from = 0;  // changes since this revision are all there

    void note(const ObjectKey& key, ObjectPtr before, ObjectPtr after);
    bool take(const std::string& source, DecodedObject&& decoded, std::int64_t seen_ns);
    bool drop(const std::string& source, const ObjectKey& key);
    bool settle(Entry& entry);
};

ObjectStore::ObjectStore() : state_(std::make_unique<State>()) {}
ObjectStore::~ObjectStore() = default;
ObjectStore::ObjectStore(ObjectStore&&) noexcept = default;
ObjectStore& ObjectStore::operator=(ObjectStore&&) noexcept = default;

// Chooses the version in force and writes the status; true when the object in force changed.
bool ObjectStore::State::settle(Entry& entry) {
    const Version* newest = nullptr;
    const Version* in_force = nullptr;
    for (const Version& version : entry.versions) {
        if (newest == nullptr || version.order > newest->order) {
            newest = &version;
        }
        if (version.good && (in_force == nullptr || version.order > in_force->order)) {
            in_force = &version;
        }
    }
    StoredObject& shown = entry.shown;
    ObjectPtr before = std::move(shown.object);
    shown.object = in_force == nullptr ? nullptr : in_force->good;
    bool had_findings = !shown.findings.empty();
    shown.source = newest->source;
    shown.line = newest->line;
    shown.findings = newest->findings;
    bool current = newest->newest_is_good && in_force == newest;
    shown.state = shown.object == nullptr ? ObjectState::refused
                  : current               ? ObjectState::accepted
                                          : ObjectState::held;
    if (shown.object && shown.object->meta.created_ns) {
        shown.created_ns = *shown.object->meta.created_ns;
    }
    if (entry.versions.size() > 1) {
        std::string others;
        for (const Version& version : entry.versions) {
            others += &version == newest ? "" : (others.empty() ? "" : ", ") + version.source;
        }
        shown.findings.push_back({Severity::warning,
                                  "ORL011",
                                  shown.key,
                                  newest->source,
                                  newest->line,
                                  "",
                                  "also defined in " + others,
                                  "the definition that changed last is in force"});
    }
    if (had_findings || !shown.findings.empty()) {
        ++findings_revision;
        told.erase(shown.key);
    }
    if (!shown.findings.empty()) {
        told.emplace(shown.key, &entry);
    }
    bool changed = before != shown.object;
    if (changed) {
        note(shown.key, std::move(before), shown.object);
    }
    return changed;
}

void ObjectStore::State::note(const ObjectKey& key, ObjectPtr before, ObjectPtr after) {
    if (journal.size() == limits::store_journal_max) {
        journal_from = journal.front().revision + 1;
        journal.pop_front();
    }
    journal.push_back({revision, {key, std::move(before), std::move(after)}});
}

bool ObjectStore::State::take(const std::string& source,
                              DecodedObject&& decoded,
                              std::int64_t seen_ns) {
    auto [found, added] = entries.try_emplace(decoded.key);
    Entry& entry = found->second;
    if (added) {
        entry.shown.key = decoded.key;
        entry.shown.created_ns = seen_ns;
        entry.shown.sequence = next_sequence++;
    }
    auto version = std::ranges::find(entry.versions, source, &Version::source);
    if (version == entry.versions.end()) {
        entry.versions.emplace_back().source = source;
        version = entry.versions.end() - 1;
        version->order = next_order++;
    }
    bool unchanged = decoded.object && version->good && version->newest_is_good &&
                     same_object(*decoded.object, *version->good);
    if (!unchanged) {
        version->order = next_order++;
    }
    version->line = decoded.line;
    version->findings = std::move(decoded.findings);
    version->newest_is_good = decoded.object != nullptr;
    if (decoded.object && !unchanged) {
        version->good = std::move(decoded.object);
    }
    bool changed = settle(entry);
    if (added && !entry.shown.object) {
        note(entry.shown.key, nullptr, nullptr);
        return true;
    }
    return changed;
}

bool ObjectStore::State::drop(const std::string& source, const ObjectKey& key) {
    auto found = entries.find(key);
    if (found == entries.end()) {
        return false;
    }
    Entry& entry = found->second;
    std::erase_if(entry.versions, [&](const Version& version) { return version.source == source; });
    if (!entry.versions.empty()) {
        return settle(entry);
    }
    findings_revision += told.erase(key);
    note(key, std::move(entry.shown.object), nullptr);
    entries.erase(found);
    return true;
}

bool ObjectStore::replace_source(const std::string& source,
                                 DecodedText documents,
                                 std::int64_t seen_ns) {
    Source& known = state_->sources[source];
    state_->findings_revision += known.errors.empty() && documents.errors.empty() ? 0 : 1;
    known.errors = std::move(documents.errors);
    known.ignored = 0;
    bool changed = false;
    std::set<ObjectKey> keys;
    for (DecodedObject& decoded : documents.objects) {
        if (decoded.ignored) {
            ++known.ignored;
            continue;
        }
        bool twin = !keys.insert(decoded.key).second;
        if (twin) {  // refused by decode_text; the first one stays and carries the error
            Entry& entry = state_->entries.at(decoded.key);
            auto version = std::ranges::find(entry.versions, source, &Version::source);
            version->findings.insert(
                version->findings.end(), decoded.findings.begin(), decoded.findings.end());
            changed = state_->settle(entry) || changed;
            continue;
        }
        changed = state_->take(source, std::move(decoded), seen_ns) || changed;
    }
    // With an unreadable document nobody knows which objects it stood for: nothing is dropped.
    for (const ObjectKey& key : std::set<ObjectKey>(known.keys)) {
        if (keys.contains(key)) {
            continue;
        }
        if (known.errors.empty()) {
            changed = state_->drop(source, key) || changed;
        } else {
            keys.insert(key);
        }
    }
    known.keys = std::move(keys);
    state_->revision += changed ? 1 : 0;
    return changed;
}

bool ObjectStore::remove_source(const std::string& source) {
    auto found = state_->sources.find(source);
    if (found == state_->sources.end()) {
        return false;
    }
    bool changed = false;
    state_->findings_revision += found->second.errors.empty() ? 0 : 1;
    for (const ObjectKey& key : found->second.keys) {
        changed = state_->drop(source, key) || changed;
    }
    state_->sources.erase(found);
    state_->revision += changed ? 1 : 0;
    return changed;
}

void ObjectStore::fail_source(const std::string& source, Finding error) {
    ++state_->findings_revision;
    state_->sources[source].errors = {std::move(error)};
}

std::uint64_t ObjectStore::revision() const {
    return state_->revision;
}

std::uint64_t ObjectStore::findings_revision() const {
    return state_->findings_revision;
}

std::optional<std::vector<ObjectChange>> ObjectStore::changes_since(std::uint64_t revision) const {
    if (revision < state_->journal_from) {
        return std::nullopt;
    }
    std::vector<ObjectChange> out;
    std::map<ObjectKey, std::size_t> known;
    for (const State::Note& note : state_->journal) {
        if (note.revision < revision) {
            continue;
        }
        auto [at, first] = known.emplace(note.change.key, out.size());
        if (first) {
            out.push_back(note.change);
        } else {
            out[at->second].after = note.change.after;
        }
    }
    return out;
}

std::vector<const StoredObject*> ObjectStore::objects(std::string_view kind,
                                                      std::string_view ns) const {
    std::vector<const StoredObject*> out;
    auto at = kind.empty() ? state_->entries.begin()
                           : state_->entries.lower_bound({std::string(kind), "", ""});
    for (; at != state_->entries.end(); ++at) {
        if (!kind.empty() && at->first.kind != kind) {
            break;
        }
        if (ns.empty() || at->first.ns == ns) {
            out.push_back(&at->second.shown);
        }
    }
    return out;
}

std::size_t ObjectStore::object_count() const {
    return state_->entries.size();
}

const StoredObject* ObjectStore::find(const ObjectKey& key) const {
    auto found = state_->entries.find(key);
    return found == state_->entries.end() ? nullptr : &found->second.shown;
}

std::vector<ObjectPtr> ObjectStore::in_creation_order(std::string_view kind) const {
    std::vector<const StoredObject*> stored = objects(kind);
    std::erase_if(stored, [](const StoredObject* object) { return object->object == nullptr; });
    std::ranges::sort(stored, [](const StoredObject* a, const StoredObject* b) {
        return std::tie(a->created_ns, a->sequence, a->key.name, a->key.ns) <
               std::tie(b->created_ns, b->sequence, b->key.name, b->key.ns);
    });
    std::vector<ObjectPtr> out;
    out.reserve(stored.size());
    for (const StoredObject* object : stored) {
        out.push_back(object->object);
    }
    return out;
}

std::vector<SourceStatus> ObjectStore::sources() const {
    std::vector<SourceStatus> out;
    for (const auto& [name, source] : state_->sources) {
        out.push_back({name, source.errors, source.keys.size(), source.ignored});
    }
    return out;
}

Findings ObjectStore::findings() const {
    Findings out;
    for (const auto& [name, source] : state_->sources) {
        out.insert(out.end(), source.errors.begin(), source.errors.end());
    }
    for (const auto& [key, entry] : state_->told) {
        out.insert(out.end(), entry->shown.findings.begin(), entry->shown.findings.end());
    }
    Findings sorted;
    for (Severity severity : {Severity::error, Severity::warning, Severity::info}) {
        std::ranges::copy_if(out, std::back_inserter(sorted), [&](const Finding& finding) {
            return finding.severity == severity;
        });
    }
    return sorted;
}

}  // namespace orlop::control
