// ClientHello: a verdict never changes with bytes that arrive later, and a name is a DNS name.
#include "daemon/codec/client_hello.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace orlop;

static void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto whole = tls::look_at_client_hello(input);
    require(std::ranges::all_of(whole.server_name, is_name_byte));
    require(whole.server_name.size() <= 255);
    for (std::size_t cut : {size / 4, size / 2, size - size / 8}) {
        const auto part = tls::look_at_client_hello(input.substr(0, cut));
        if (part.state != tls::HelloState::need_more) {
            require(part.state == whole.state);
            require(part.server_name == whole.server_name);
        }
    }
    return 0;
}
