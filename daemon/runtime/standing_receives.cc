#include "daemon/runtime/standing_receives.h"

#include <cassert>

namespace orlop::runtime {

StandingReceive& StandingReceives::at(int fd) {
    assert(fd >= 0);
    auto index = static_cast<std::size_t>(fd);
    if (index >= by_fd_.size()) {
        by_fd_.resize(index + index / 2 + 1);
    }
    if (by_fd_[index] == nullptr) {
        if (free_.empty()) {
            all_.push_back(std::make_unique<StandingReceive>());
            free_.push_back(all_.back().get());
        }
        by_fd_[index] = free_.back();
        free_.pop_back();
        by_fd_[index]->fd = fd;
    }
    return *by_fd_[index];
}

void StandingReceives::forget(StandingReceive& it) {
    by_fd_[static_cast<std::size_t>(it.fd)] = nullptr;
    it.closed = true;
}

void StandingReceives::recycle(StandingReceive& it) {
    assert(it.closed && !it.armed && it.waiting == nullptr && it.parked.empty());
    it = StandingReceive{};
    free_.push_back(&it);
}

}  // namespace orlop::runtime
