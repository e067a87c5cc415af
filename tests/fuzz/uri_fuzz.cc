// URIs: a normalised path is its own normal form and has neither dot segments nor bad bytes.
#include "daemon/codec/uri.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

using namespace orlop;

static void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

static bool has_dot_segment(std::string_view path) {
    while (!path.empty()) {
        path.remove_prefix(1);
        const std::string_view segment = path.substr(0, path.find('/'));
        if (segment == "." || segment == "..") {
            return true;
        }
        path.remove_prefix(segment.size());
    }
    return false;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    const auto how = static_cast<uri::Normalisation>(data[0] % 4);
    std::vector<char> room(text.size());
    const auto path = uri::normalise_path(text, room, how);
    if (path) {
        std::vector<char> second_room(path->size());
        const auto again = uri::normalise_path(*path, second_room, how);
        require(again && *again == *path);
        if (how != uri::Normalisation::none && *path != "*") {
            require(path->starts_with('/') && !has_dot_segment(*path));
            require(path->find_first_of("\\?# ") == std::string_view::npos);
        }
        if (how >= uri::Normalisation::merge_slashes) {
            require(path->find("//") == std::string_view::npos);
        }
    }
    const auto host = uri::split_host_port(text);
    require(!host || !host->host.empty());
    static_cast<void>(uri::valid_query(text));
    const std::size_t half = text.size() / 2;
    static_cast<void>(uri::query_parameter(text.substr(0, half), text.substr(half)));
    require(uri::same_host(text, text));
    return 0;
}
