// LineRing: the last access-log lines of one core, for `orlopctl logs`.
//
// At most limits::recent_lines_per_core_max lines in limits::recent_line_bytes_per_core_max bytes;
// the oldest go first. Each keeps the addresses of both ends, so that the lines of a pod can be
// found by its addresses. Owned and called by one core's thread; others ask by message.
//
//     ring.add({wall_now, source_ip, destination_ip, line});
//     for (const auto& line : ring.find({pod_ip}, since)) ...
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/base/limits.h"

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

namespace orlop::admin {

class LineRing {
public:
    struct Line {
        WallTime at;
        IpAddress source;
        IpAddress destination;
        std::string text;
    };
    struct Bounds {
        std::size_t lines_max = limits::recent_lines_per_core_max;
        std::size_t bytes_max = limits::recent_line_bytes_per_core_max;
    };
    LineRing() = default;
    explicit LineRing(const Bounds& bounds) : bounds_(bounds) {}

    void add(Line line);
    // Lines newer than `since` of which one end is among `addresses`; oldest first.
    std::vector<Line> find(const std::vector<IpAddress>& addresses, WallTime since) const;
    std::size_t size() const { return lines_.size(); }

private:
    Bounds bounds_;
    std::deque<Line> lines_;
    std::size_t bytes_ = 0;
};

}  // namespace orlop::admin
