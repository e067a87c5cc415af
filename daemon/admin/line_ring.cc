#include "daemon/admin/line_ring.h"

#include <algorithm>

namespace orlop::admin {
namespace {

bool has(const std::vector<IpAddress>& addresses, const IpAddress& one) {
    return std::ranges::find(addresses, one) != addresses.end();
}

}  // namespace

void LineRing::add(Line line) {
    if (line.text.size() > bounds_.bytes_max) {
        return;
    }
    bytes_ += line.text.size();
    lines_.push_back(std::move(line));
    while (lines_.size() > bounds_.lines_max || bytes_ > bounds_.bytes_max) {
        bytes_ -= lines_.front().text.size();
        lines_.pop_front();
    }
}

std::vector<LineRing::Line> LineRing::find(const std::vector<IpAddress>& addresses,
                                           WallTime since) const {
    std::vector<Line> out;
    for (const Line& line : lines_) {
        bool ours = has(addresses, line.source) || has(addresses, line.destination);
        if (line.at > since && ours) {
            out.push_back(line);
        }
    }
    return out;
}

}  // namespace orlop::admin
