// Heartbeat: tells the kernel that orlopd serves, as long as every core does.
//
// A thread of its own sends each core a message every interval and beats only while all have
// answered lately; a hung core thus ends the beat, and the pinned programs fall back to each pod's
// policy. Control work, however long, does not.
#pragma once

#include "daemon/app/core_set.h"
#include "daemon/datapath/datapath.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace orlop::app {

class Heartbeat {
public:
    Heartbeat(CoreSet& cores, datapath::Datapath& datapath);
    ~Heartbeat();

private:
    void run();
    bool all_answered() const;

    struct Answers;  // shared with messages that may outlive us
    CoreSet& cores_;
    datapath::Datapath& datapath_;
    std::shared_ptr<Answers> answers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace orlop::app
