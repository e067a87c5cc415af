// StandingReceives: which descriptors have a multishot receive in the ring, and what arrived there
// while nobody asked.
//
// To the owner of an Operation every receive is single shot. On a connection that carries small
// messages the ring keeps one request that goes on: what it would cost to queue, arm and end a
// request for each message is saved. What arrives before the owner asks again is parked.
#pragma once

#include "daemon/runtime/backend.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace orlop::runtime {

struct StandingReceive {
    struct Parked {
        int result = 0;
        std::optional<LentBuffer> lent;
    };
    int fd = -1;
    Operation* waiting = nullptr;  // started and not told
    bool armed = false;            // the ring has a request whose last completion is still to come
    bool stopping = false;         // and was asked to end it
    bool closed = false;           // the descriptor is gone
    int small_in_row = 0;          // single receives in a row that left room in their buffer
    std::vector<Parked> parked;    // oldest first
};

class StandingReceives {
public:
    StandingReceive* find(int fd) const {
        auto index = static_cast<std::size_t>(fd);
        return index < by_fd_.size() ? by_fd_[index] : nullptr;
    }
    StandingReceive& at(int fd);       // makes one
    void forget(StandingReceive& it);  // its descriptor's number may now name another socket
    void recycle(StandingReceive& it);
    const std::vector<std::unique_ptr<StandingReceive>>& all() const { return all_; }

private:
    std::vector<StandingReceive*> by_fd_;
    std::vector<std::unique_ptr<StandingReceive>> all_;
    std::vector<StandingReceive*> free_;
};

}  // namespace orlop::runtime
