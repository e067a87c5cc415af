#include "daemon/telemetry/request_id.h"

#include <sys/random.h>

#include <bit>
#include <ctime>

namespace orlop::telemetry {

namespace {

std::uint64_t splitmix(std::uint64_t& state) {
    state += 0x9e3779b97f4a7c15ull;
    std::uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

}  // namespace

FastRandom::FastRandom(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
        word = splitmix(seed);
    }
}

FastRandom FastRandom::seeded_by_kernel() {
    FastRandom out;
    const ssize_t got = getrandom(out.state_.data(), sizeof(out.state_), 0);
    const std::uint64_t any = out.state_[0] | out.state_[1] | out.state_[2] | out.state_[3];
    if (got != static_cast<ssize_t>(sizeof(out.state_)) || any == 0) {
        // Up to 256 bytes never come short once the kernel is seeded (getrandom(2)); a filter that
        // forbids the call leaves the time and a stack address.
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        return FastRandom(static_cast<std::uint64_t>(now.tv_nsec) ^
                          (static_cast<std::uint64_t>(now.tv_sec) << 32) ^
                          reinterpret_cast<std::uintptr_t>(&now));
    }
    return out;
}

std::uint64_t FastRandom::next() {  // xoshiro256++
    const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

RequestId make_request_id(FastRandom& random) {
    constexpr std::string_view digits = "0123456789abcdef";
    constexpr std::string_view shape = "xxxxxxxx-xxxx-4xxx-Nxxx-xxxxxxxxxxxx";
    static_assert(shape.size() == sizeof(RequestId::text));
    RequestId out;
    std::uint64_t bits = 0;
    int left = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] != 'x' && shape[i] != 'N') {
            out.text[i] = shape[i];
            continue;
        }
        if (left == 0) {
            bits = random.next();
            left = 16;
        }
        const std::size_t digit = bits & 15;
        out.text[i] = digits[shape[i] == 'N' ? 8 + (digit & 3) : digit];  // N: variant 10xx
        bits >>= 4;
        --left;
    }
    return out;
}

}  // namespace orlop::telemetry
