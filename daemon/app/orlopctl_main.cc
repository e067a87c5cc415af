// orlopctl: for people and scripts.
#include "daemon/app/cli/arguments.h"

#include <csignal>
#include <string>
#include <vector>

int main(int argc, char** argv) {
    // A pipe that closes early (orlopctl get ... | head) ends us quietly, as every filter.
    std::signal(SIGPIPE, SIG_DFL);
    return orlop::app::cli::run(std::vector<std::string>(argv + 1, argv + argc), {});
}
