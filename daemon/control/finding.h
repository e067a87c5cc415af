// Finding: one thing to tell about one object: an error that refused it, a warning, or a hint.
//
// Codes: Istio's where one exists (IST0101 referenced resource not found, IST0109 conflicting
// hosts, ...), else ours (ORL0xx; daemon/README.md). Values; any thread.
#pragma once

#include <compare>
#include <string>
#include <vector>

namespace orlop::control {

// Identity of an object: one per kind, namespace and name. Cluster-wide kinds have an empty ns.
struct ObjectKey {
    std::string kind;
    std::string ns;
    std::string name;
    auto operator<=>(const ObjectKey&) const = default;
    std::string to_string() const { return kind + " " + (ns.empty() ? "" : ns + "/") + name; }
};

enum class Severity : unsigned char { info, warning, error };

struct Finding {
    Severity severity = Severity::error;
    std::string code;
    ObjectKey object;  // kind empty when the file as a whole is meant
    std::string file;
    int line = 0;         // 1-based; 0 unknown
    std::string path;     // "spec.http[0].timeout"; empty for the object as a whole
    std::string message;  // what was found and what is wrong
    std::string hint;     // what would be right; may be empty

    // "file:line: error: VirtualService default/pricing spec.http[0].timeout: message (hint)
    // [code]"
    std::string to_string() const;
};
using Findings = std::vector<Finding>;

const char* severity_name(Severity severity);

}  // namespace orlop::control
