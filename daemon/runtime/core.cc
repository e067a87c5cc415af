#include "daemon/runtime/core.h"

#include <pthread.h>
#include <sched.h>

#include <future>

namespace orlop::runtime {
namespace {

void name_and_pin(const Core::Options& options) {
    pthread_setname_np(pthread_self(), options.thread_name.substr(0, 15).c_str());
    if (options.cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(static_cast<unsigned>(options.cpu), &cpus);
        pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    }
}

}  // namespace

Result<std::unique_ptr<Core>> Core::start(Options options, MakeGuest make_guest,
                                          UringNotes* notes) {
    std::unique_ptr<Core> core(new Core);
    std::promise<Result<Loop*>> started;
    auto ready = started.get_future();
    core->thread_ = std::thread([&started, notes, options = std::move(options),
                                 make_guest = std::move(make_guest)] {
        name_and_pin(options);
        auto backend = create_uring_backend(options.uring, notes);
        if (!backend) {
            started.set_value(std::unexpected(backend.error()));
            return;
        }
        Loop loop(std::move(*backend));
        auto guest = make_guest(loop);
        started.set_value(&loop);  // the caller returns: `started` and `notes` are gone after this
        loop.run();
        guest.reset();
    });
    auto result = ready.get();
    if (!result) {
        core->thread_.join();
        return std::unexpected(result.error());
    }
    core->loop_ = *result;
    return core;
}

void Core::stop() {
    if (!thread_.joinable()) {
        return;
    }
    Loop* loop = loop_;
    // The queue may be full of other messages; a core that is stuck for good is a defect.
    while (!loop->post([loop] { loop->stop(); })) {
        std::this_thread::yield();
    }
    thread_.join();
}

Core::~Core() {
    stop();
}

}  // namespace orlop::runtime
