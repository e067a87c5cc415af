// analyze: what is suspicious about a store, for `orlopctl analyze` on files and live.
//
// Includes the store's own findings (refused objects, unknown fields), what compile() reports, and
// checks that only matter to people. daemon/README.md lists every code with its one meaning.
#pragma once

#include "daemon/control/finding.h"
#include "daemon/control/object_store.h"

#include <string>

namespace orlop::control {

struct AnalyzeOptions {
    std::string node;  // empty: no pod is local
};

// Errors first, then by file, line, code; no duplicates.
Findings analyze(const ObjectStore& store, const AnalyzeOptions& options = {});

}  // namespace orlop::control
