#include "daemon/runtime/core.h"

#include <pthread.h>
#include <sched.h>

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

Result<std::unique_ptr<Core>>
Core::start(Options options, MakeGuest make_guest, UringNotes* notes) {
    std::unique_ptr<Core> core(new Core);
    std::promise<Result<void>> started;
    auto ready = started.get_future();
    core->thread_ = std::thread([core = core.get(),
                                 notes,
                                 options = std::move(options),
                                 make_guest = std::move(make_guest),
                                 started = std::move(started)]() mutable {
        core->serve(std::move(options), make_guest, notes, std::move(started));
    });
    if (auto result = ready.get(); !result) {
        return std::unexpected(result.error());  // ~Core joins
    }
    return core;
}

void Core::serve(Options options,
                 const MakeGuest& make_guest,
                 UringNotes* notes,
                 std::promise<Result<void>> started) {
    name_and_pin(options);
    auto backend = create_uring_backend(options.uring, notes);
    if (!backend) {
        started.set_value(std::unexpected(backend.error()));
        return;
    }
    Loop loop(std::move(*backend));
    auto guest = make_guest(loop);
    {
        std::lock_guard lock(loop_mutex_);
        loop_ = &loop;
    }
    started.set_value({});  // the caller returns: `notes` is gone after this
    loop.run();
    {
        std::lock_guard lock(loop_mutex_);
        loop_ = nullptr;
    }
    guest.reset();
}

Result<void> Core::post(std::function<void()> message) {
    std::lock_guard lock(loop_mutex_);
    if (loop_ == nullptr) {
        return fail(ErrorKind::closed, "the core has stopped");
    }
    return loop_->post(std::move(message));
}

void Core::stop() {
    std::lock_guard one_joiner(stop_mutex_);
    if (!thread_.joinable()) {
        return;
    }
    // The queue may be full of other messages; a core that is stuck for good is a defect.
    Result<void> asked;
    do {
        asked = post([this] { loop_->stop(); });
        if (!asked && asked.error().kind == ErrorKind::limit_exceeded) {
            std::this_thread::yield();
        }
    } while (!asked && asked.error().kind == ErrorKind::limit_exceeded);
    thread_.join();
}

Core::~Core() {
    stop();
}

}  // namespace orlop::runtime
