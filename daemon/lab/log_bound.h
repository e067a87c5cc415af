// Logs of a lab stay bounded: one that has grown beyond limits::lab_log_bytes_max loses its older
// part. Programs of pods and orlopd append to their files, so a file may shrink under them.
//
// Called by the supervisor's loop now and then; a line written in the moment of shrinking is lost.
#pragma once

#include <string>

namespace orlop::lab {

// Every *.log of the lab's pods and nodes; what cannot be shrunk is left as it is.
void bound_logs(const std::string& state_dir);

}  // namespace orlop::lab
