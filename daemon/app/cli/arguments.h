// orlopctl's command line: one sub-command per thing to do, run with the session's streams.
#pragma once

#include "daemon/app/cli/session.h"

#include <string>
#include <vector>

namespace orlop::app::cli {

// `arguments` without the program's name. Wrong usage answers exit_code::usage with one line that
// names the option at fault.
int run(const std::vector<std::string>& arguments, Session session);

}  // namespace orlop::app::cli
