// FakeRandom: the one source of chance of a seeded run (splitmix64). Own arithmetic, so that a seed
// means the same on every machine and standard library.
#pragma once

#include "daemon/base/clock.h"

#include <cstddef>
#include <cstdint>

namespace orlop::runtime {

class FakeRandom {
public:
    explicit FakeRandom(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9e37'79b9'7f4a'7c15;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58'476d'1ce4'e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d0'49bb'1331'11eb;
        return mixed ^ (mixed >> 31);
    }
    // first <= result <= last
    std::uint64_t between(std::uint64_t first, std::uint64_t last) {
        std::uint64_t span = last - first + 1;
        return span == 0 ? next() : first + next() % span;
    }
    bool chance(double probability) {
        return static_cast<double>(next() >> 11) < probability * 0x1p53;
    }
    Duration up_to(Duration longest) {
        return Duration(between(0, static_cast<std::uint64_t>(longest.count())));
    }

private:
    std::uint64_t state_;
};

}  // namespace orlop::runtime
