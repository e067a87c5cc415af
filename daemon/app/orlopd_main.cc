// orlopd: one per node.
#include "daemon/app/daemon.h"
#include "daemon/app/options.h"

int main(int argc, char** argv) {
    auto parsed = orlop::app::parse_daemon_options(argc, argv);
    if (parsed.exit_code >= 0) {
        return parsed.exit_code;
    }
    return orlop::app::Daemon::run(std::move(parsed.options));
}
