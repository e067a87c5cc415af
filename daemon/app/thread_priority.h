// Which thread of ours runs first where two want one CPU (decisions/0062-thread-priorities.md).
//
// The idea: a request waits for a data thread, nothing waits for the control thread within
// milliseconds. A data thread that wakes takes the CPU from it at once; it takes what is left, and
// a tenth of the CPU where nothing is left.
#pragma once

namespace orlop::app {

// For the calling thread and those that it starts afterwards. Not to be undone without a privilege.
// A kernel that refuses leaves things as they are, and so does a policy that somebody has chosen.
void become_control_thread();

}  // namespace orlop::app
