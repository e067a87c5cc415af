// Where an instance keeps things, and the lock that makes it one. Control thread or a CLI.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/datapath/datapath.h"

#include <string>

namespace orlop::datapath {

// Checks names, fills defaults, creates the state folder (0700).
Result<Options> complete_options(Options options);
std::string journal_path(const Options& options);
// Exclusive for the instance; waits up to a second for a dying predecessor to let go.
Result<UniqueFd> lock_instance(const Options& options);

}  // namespace orlop::datapath
