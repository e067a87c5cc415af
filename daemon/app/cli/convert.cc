// convert: objects of config.istio.io/v1alpha2 as the current objects that mean the same.
#include "daemon/app/cli/commands.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "daemon/control/translate_legacy.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace orlop::app::cli {
namespace {

using control::Finding;
using control::Findings;

constexpr std::string_view legacy_kinds[] = {
    "RouteRule", "DestinationPolicy", "EgressRule", "memquota", "quota", "rule"};

bool is_legacy(std::string_view kind) {
    return std::ranges::find(legacy_kinds, kind) != std::end(legacy_kinds);
}

// The legacy objects that an object was made from.
std::set<control::ObjectKey> parts_of(const control::Object& object) {
    std::set<control::ObjectKey> parts;
    auto add = [&](const model::ObjectRefPtr& ref) {
        if (ref) {
            parts.insert({ref->kind, ref->ns, ref->name});
        }
    };
    add(object.ref);
    if (const auto* routes = std::get_if<control::VirtualServiceSpec>(&object.spec)) {
        for (const control::HttpRouteSpec& route : routes->http) {
            add(route.source);
        }
    } else if (const auto* rule = std::get_if<control::DestinationRuleSpec>(&object.spec)) {
        for (const control::SubsetSpec& subset : rule->subsets) {
            add(subset.policy ? subset.policy->source : nullptr);
        }
    }
    return parts;
}

void print_documents(Session& session,
                     const std::vector<control::ObjectPtr>& objects,
                     const Findings& notes) {
    for (const control::ObjectPtr& object : objects) {
        auto parts = parts_of(*object);
        for (const control::ObjectKey& part : parts) {
            fmt::print(session.out,
                       "{}# from {}\n",
                       part == *parts.begin() ? "---\n" : "",
                       part.to_string());
        }
        for (const Finding& note : notes) {
            if (parts.contains(note.object)) {
                fmt::print(session.out,
                           "# note, line {}: {} {}: {}\n",
                           note.line,
                           note.object.to_string(),
                           note.path,
                           note.message);
            }
        }
        fmt::print(session.out, "{}", object->written);
    }
}

Result<control::ObjectStore> load(Session& session, const std::vector<std::string>& files) {
    control::ObjectStore store;
    std::int64_t order = 0;
    for (const std::string& file : files) {
        auto text = read_input(session, file);
        if (!text) {
            return std::unexpected(text.error());
        }
        std::string name = file == "-" ? "<stdin>" : file;
        store.replace_source(
            name,
            control::decode_text(*text,
                                 {.file = name, .default_namespace = session.ns_or_default()}),
            ++order);
    }
    return store;
}

}  // namespace

int run_convert(Session& session, const FileOptions& options) {
    auto store = load(session, options.files);
    if (!store) {
        return tell_error(session, store.error());
    }
    control::Translation current = translate_legacy(*store);
    Findings notes = store->findings();
    notes.insert(notes.end(), current.notes.begin(), current.notes.end());
    bool failed = false;
    for (const Finding& finding : notes) {
        failed = failed || finding.severity == control::Severity::error;
        fmt::print(session.err, "{}\n", finding.to_string());
    }
    if (failed) {
        fmt::print(session.err, "orlopctl: refused; nothing was converted\n");
        return exit_code::bad_data;
    }
    std::size_t legacy = 0;
    std::size_t others = 0;
    for (const control::StoredObject* object : store->objects()) {
        (is_legacy(object->key.kind) ? legacy : others) += 1;
    }
    print_documents(session, current.virtual_services, notes);
    print_documents(session, current.destination_rules, notes);
    if (others > 0) {
        fmt::print(session.err, "{} objects are current already and were left out\n", others);
    }
    if (legacy == 0) {
        return tell_error(session, "no object of config.istio.io/v1alpha2 in these files");
    }
    return exit_code::ok;
}

}  // namespace orlop::app::cli
