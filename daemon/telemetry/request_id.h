// Request ids and the per-core random numbers behind them.
//
// FastRandom is xoshiro256++ seeded by getrandom(2): for jitter, balancing and ids, never for keys.
// One per core, owned by that core's thread.
//
//     FastRandom random = FastRandom::seeded_by_kernel();
//     RequestId id = make_request_id(random);   // "6f1e...": UUID version 4, RFC 9562 §5.4
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace orlop::telemetry {

class FastRandom {
public:
    static FastRandom seeded_by_kernel();
    explicit FastRandom(std::uint64_t seed);  // tests: the same numbers each time
    std::uint64_t next();

    // For callers that take a function and a context (decide::RandomSource).
    static std::uint64_t next_of(void* self) { return static_cast<FastRandom*>(self)->next(); }

private:
    FastRandom() = default;
    std::array<std::uint64_t, 4> state_{};
};

struct RequestId {
    std::array<char, 36> text;
    std::string_view view() const { return std::string_view(text.data(), text.size()); }
};
RequestId make_request_id(FastRandom& random);

}  // namespace orlop::telemetry
