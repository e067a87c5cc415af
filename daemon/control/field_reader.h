// FieldReader: typed, strict reading of one map of a tree, with every error collected.
//
// The idea: a decoder asks for the fields it knows; what it asked for is what exists. When the
// reader goes out of scope, fields nobody asked for are reported as unknown, with the nearest known
// name. A wrong type is an error that says what was found and what would be right; `null` counts
// as absent, as in Kubernetes. Nothing throws.
//
// Lifetime: a reader borrows its Node and Report; keep both longer. One thread.
//
//     FieldReader spec(report, root.find("spec"), "spec");
//     std::optional<Duration> timeout = spec.duration("timeout");
//     spec.each("http", [&](const Node& item, const std::string& path) { ... });
#pragma once

#include "daemon/base/clock.h"
#include "daemon/control/finding.h"
#include "daemon/control/yaml_document.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::control {

// Collects the findings of one object; bounded by limits::findings_per_object_max.
class Report {
public:
    Report(Findings& findings, ObjectKey object, std::string file)
        : findings_(findings), object_(std::move(object)), file_(std::move(file)) {}

    void error(int line, std::string path, std::string message, std::string hint = "");
    void
    warn(std::string code, int line, std::string path, std::string message, std::string hint = "");
    bool failed() const { return errors_ > 0; }
    const ObjectKey& object() const { return object_; }
    const std::string& file() const { return file_; }

    // Every field that a decoder asks for goes into `asked` as "spec.http[].timeout", present or
    // not: what a decoder never asks for does not act. Null: nobody listens.
    void watch(std::set<std::string>* asked) { asked_ = asked; }
    bool watched() const { return asked_ != nullptr; }
    void note_asked(std::string_view path);

private:
    void add(Finding finding);

    Findings& findings_;
    ObjectKey object_;
    std::string file_;
    std::size_t errors_ = 0;
    std::set<std::string>* asked_ = nullptr;
};

enum class ZeroDuration : unsigned char { refused, allowed };
// `refused`: where a misspelt condition would open what it was meant to close.
enum class UnknownFields : unsigned char { reported, refused, ignored };

class FieldReader {
public:
    // `node` null or null-valued: an absent map, on which every question answers "absent".
    FieldReader(Report& report,
                const Node* node,
                std::string path,
                UnknownFields unknown = UnknownFields::reported);
    ~FieldReader();
    FieldReader(const FieldReader&) = delete;
    FieldReader& operator=(const FieldReader&) = delete;

    bool present() const { return node_ != nullptr; }
    bool empty() const { return node_ == nullptr || node_->fields.empty(); }
    int line() const { return node_ == nullptr ? 0 : node_->line; }
    const std::string& path() const { return path_; }
    Report& report() { return report_; }

    // The member, or null when absent or null-valued. Asking makes the name known.
    const Node* take(std::string_view name);
    bool has(std::string_view name) { return take(name) != nullptr; }
    int line_of(std::string_view name);  // of the member's value, else of this map

    std::optional<std::string> text(std::string_view name);
    std::string text_or(std::string_view name, std::string_view fallback);
    std::optional<bool> boolean(std::string_view name);
    std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max);
    std::optional<double> number(std::string_view name, double min, double max);
    // Go syntax, at least 1 ms, whole milliseconds (istio-semantics §0).
    std::optional<Duration> duration(std::string_view name,
                                     ZeroDuration zero = ZeroDuration::refused);
    std::vector<std::string> texts(std::string_view name);
    model::Labels labels(std::string_view name);  // a map of text to text
    // Index into `names`, or nothing after an error that lists them.
    std::optional<std::size_t> choice(std::string_view name,
                                      const std::vector<std::string_view>& names);
    // Calls for every item of a list, or of a map's member of that name; wrong types are errors.
    void each(std::string_view name,
              const std::function<void(const Node&, const std::string&)>& visit);
    void each_field(std::string_view name,
                    const std::function<void(const Field&, const std::string&)>& visit);
    // Names that exist but mean nothing to us: no report when present.
    void accept(std::initializer_list<std::string_view> names);
    // Present ones are reported as accepted but not enforced.
    void accept_unenforced(std::initializer_list<std::string_view> names);

    void error(std::string_view name, std::string message, std::string hint = "");
    void error_here(std::string message, std::string hint = "");
    std::string path_of(std::string_view name) const;

private:
    void wrong_type(std::string_view name, const Node& node, std::string_view wanted);

    Report& report_;
    const Node* node_;
    std::string path_;
    UnknownFields unknown_;
    std::vector<std::string_view> known_;
};

// Scalars by themselves; nothing when the node is not such a scalar.
std::optional<std::string> read_text(const Node& node);  // refuses plain numbers and booleans
std::optional<std::int64_t> read_integer(const Node& node);
std::optional<double> read_number(const Node& node);
// Go's time.ParseDuration: "1.5s", "1h30m", "0". Nothing when malformed or beyond +-292 years.
std::optional<Duration> parse_go_duration(std::string_view text);

// The nearest of `names` within two edits, or empty.
std::string_view nearest_name(std::string_view wanted, const std::vector<std::string_view>& names);

}  // namespace orlop::control
