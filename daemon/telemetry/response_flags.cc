#include "daemon/telemetry/response_flags.h"

#include <cstring>

namespace orlop::telemetry {

namespace {

constexpr std::array<std::string_view, response_flag_count> names = {
    "LH", "UH",   "UT",   "LR", "UR",  "UF", "UC", "UO",  "NR",    "DI",     "FI",
    "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF",   "NFCF",
    "DT", "UPE",  "NC",   "OM", "DF",  "DO", "DR", "UDO", "DENY",  "CONNECT"};

constexpr std::size_t all_names_bytes() {
    std::size_t total = 0;
    for (const std::string_view name : names) {
        total += name.size() + 1;
    }
    return total;
}
static_assert(static_cast<std::size_t>(ResponseFlag::CONNECT) + 1 == response_flag_count);
static_assert(all_names_bytes() <= sizeof(FlagText::bytes), "every flag at once must fit");

}  // namespace

std::string_view response_flag_name(ResponseFlag flag) {
    return names[static_cast<std::size_t>(flag)];
}

std::optional<ResponseFlag> parse_response_flag(std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) {
            return static_cast<ResponseFlag>(i);
        }
    }
    return std::nullopt;
}

bool ResponseFlags::add_name(std::string_view name) {
    if (name.empty()) {
        return true;
    }
    const std::optional<ResponseFlag> flag = parse_response_flag(name);
    if (flag) {
        add(*flag);
    }
    return flag.has_value();
}

FlagText ResponseFlags::to_text() const {
    FlagText out;
    const auto append = [&](std::string_view text) {
        std::memcpy(out.bytes.data() + out.size, text.data(), text.size());
        out.size += text.size();
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (has(static_cast<ResponseFlag>(i))) {
            if (out.size != 0) {
                append(",");
            }
            append(names[i]);
        }
    }
    if (out.size == 0) {
        append("-");
    }
    return out;
}

}  // namespace orlop::telemetry
