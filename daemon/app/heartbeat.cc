#include "daemon/app/heartbeat.h"

#include "daemon/base/log.h"

#include <pthread.h>

namespace orlop::app {
namespace {

constexpr auto interval = std::chrono::milliseconds(400);
constexpr auto answer_age_max = std::chrono::milliseconds(1500);

std::int64_t now_ns() {
    return monotonic_now().time_since_epoch().count();
}

}  // namespace

struct Heartbeat::Answers {
    explicit Answers(std::size_t cores) : at(cores) {
        for (auto& one : at) {
            one.store(now_ns(), std::memory_order_relaxed);
        }
    }
    std::vector<std::atomic<std::int64_t>> at;
};

Heartbeat::Heartbeat(CoreSet& cores, datapath::Datapath& datapath)
    : cores_(cores), datapath_(datapath), answers_(std::make_shared<Answers>(cores.size())) {
    datapath_.beat();
    thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

bool Heartbeat::all_answered() const {
    std::int64_t oldest = now_ns() - Duration(answer_age_max).count();
    for (const auto& answer : answers_->at) {
        if (answer.load(std::memory_order_relaxed) < oldest) {
            return false;
        }
    }
    return true;
}

void Heartbeat::run() {
    pthread_setname_np(pthread_self(), "orlop-beat");
    bool complained = false;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            cores_.tell(i, [answers = answers_, i](proxy::ProxyCore&) {
                answers->at[i].store(now_ns(), std::memory_order_relaxed);
            });
        }
        if (all_answered()) {
            datapath_.beat();
            complained = false;
        } else if (!std::exchange(complained, true)) {
            log_line(LogLevel::error,
                     "app",
                     "a core does not answer; enrolled pods fall back to their policy");
        }
        wake_.wait_for(lock, interval, [this] { return stopping_; });
    }
}

}  // namespace orlop::app
