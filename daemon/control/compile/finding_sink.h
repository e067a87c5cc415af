// FindingSink: collects findings of one compilation, each once, bounded.
#pragma once

#include "daemon/base/limits.h"
#include "daemon/control/finding.h"
#include "daemon/model/object_ref.h"

#include <set>
#include <string>

namespace orlop::control {

class FindingSink {
public:
    void warn(const char* code,
              const model::ObjectRefPtr& where,
              std::string path,
              std::string message,
              std::string hint = "") {
        place(Severity::warning, code, where, std::move(path), std::move(message), std::move(hint));
    }
    void inform(const char* code,
                const model::ObjectRefPtr& where,
                std::string path,
                std::string message,
                std::string hint = "") {
        place(Severity::info, code, where, std::move(path), std::move(message), std::move(hint));
    }
    void add(Finding finding) {
        bool room = findings_.size() < limits::compile_findings_max;
        if (room && seen_.insert(finding.to_string()).second) {
            findings_.push_back(std::move(finding));
        }
    }
    void add(const Findings& findings) {
        for (const Finding& finding : findings) {
            add(finding);
        }
    }
    Findings take() { return std::move(findings_); }

private:
    void place(Severity severity,
               const char* code,
               const model::ObjectRefPtr& where,
               std::string path,
               std::string message,
               std::string hint) {
        Finding finding;
        finding.severity = severity;
        finding.code = code;
        if (where) {
            finding.object = {where->kind, where->ns, where->name};
            finding.file = where->file;
            finding.line = where->line;
        }
        finding.path = std::move(path);
        finding.message = std::move(message);
        finding.hint = std::move(hint);
        add(std::move(finding));
    }

    Findings findings_;
    std::set<std::string> seen_;
};

}  // namespace orlop::control
