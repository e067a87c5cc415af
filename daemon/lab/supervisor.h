// Supervisor: the process that owns a lab's pods, and the requests it answers.
//
// One thread: waits for a request, an ended child or a due time; see run_supervisor() in lab.h.
// answer() is the table of requests, apart from the loop so that tests may call it.
#pragma once

#include "daemon/lab/cluster.h"
#include "daemon/lab/wire.h"

namespace orlop::lab {

// "ok" and lines, or "error", the kind's number and the context.
Message answer(Cluster& cluster, const Message& request);

}  // namespace orlop::lab
