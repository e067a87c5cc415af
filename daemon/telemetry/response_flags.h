// Response flags: Envoy's short codes for how an exchange ended (istio-semantics §15), as a set.
//
//     ResponseFlags flags;
//     flags.add(ResponseFlag::UT);
//     FlagText text = flags.to_text();   // "UT", "DI,FI", or "-"
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace orlop::telemetry {

enum class ResponseFlag : std::uint8_t {
    LH,
    UH,
    UT,
    LR,
    UR,
    UF,
    UC,
    UO,
    NR,
    DI,
    FI,
    RL,
    UAEX,
    RLSE,
    DC,
    URX,
    SI,
    IH,
    DPE,
    UMSDR,
    RFCF,
    NFCF,
    DT,
    UPE,
    NC,
    OM,
    DF,
    DO,
    DR,
    UDO,
    // ztunnel's words for refused connections
    DENY,
    CONNECT,
};
inline constexpr std::size_t response_flag_count = 32;

struct FlagText {
    std::array<char, 160> bytes;
    std::size_t size = 0;
    std::string_view view() const { return std::string_view(bytes.data(), size); }
};

class ResponseFlags {
public:
    void add(ResponseFlag flag) { bits_ |= bit(flag); }
    // By name as decide/ gives it; "" adds nothing, an unknown name is refused with false.
    bool add_name(std::string_view name);
    bool has(ResponseFlag flag) const { return (bits_ & bit(flag)) != 0; }
    bool empty() const { return bits_ == 0; }
    std::uint32_t bits() const { return bits_; }
    FlagText to_text() const;  // comma-joined, "-" when empty
    bool operator==(const ResponseFlags&) const = default;

private:
    static std::uint32_t bit(ResponseFlag flag) { return 1u << static_cast<unsigned>(flag); }
    std::uint32_t bits_ = 0;
};

std::string_view response_flag_name(ResponseFlag flag);
std::optional<ResponseFlag> parse_response_flag(std::string_view name);

}  // namespace orlop::telemetry
