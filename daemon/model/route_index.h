// RouteIndex: which routes of a VirtualHost a path can match at all, so that a thousand routes cost
// what a few do.
//
// Exact paths and prefixes are found by the hash of the text; a hash that two texts share only
// names a candidate too many, since the caller still asks every condition of the route. Routes
// that no path rules out (no uri, regex, ignoreUriCase) are always candidates. Candidates come in
// the order of the routes: the first match wins, as without an index.
//
// Lifetime: immutable, part of a VirtualHost. Any thread; look-ups do not allocate.
//
//     RouteCandidates candidates(*host.index, path);
//     for (std::uint32_t i = candidates.next(); i != RouteCandidates::none; i = candidates.next())
//         if (matches(host.routes[i])) ...
#pragma once

#include "daemon/model/route.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace orlop::model {

struct RouteIndex {
    using Routes = std::vector<std::uint32_t>;  // indices, ascending
    std::unordered_map<std::uint64_t, Routes> exact;
    std::unordered_map<std::uint64_t, Routes> prefix;
    std::vector<std::uint32_t> prefix_lengths;  // ascending, each once
    std::size_t exact_length_max = 0;
    Routes others;
};

// Null when there are so few routes that trying them all is as fast.
std::shared_ptr<const RouteIndex> make_route_index(const std::vector<HttpRoute>& routes);

class RouteCandidates {
public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    RouteCandidates(const RouteIndex& index, std::string_view path);
    std::uint32_t next();  // ascending; `none` at the end

private:
    void add(const std::unordered_map<std::uint64_t, RouteIndex::Routes>& routes,
             std::uint64_t hash);

    // Each prefix of a path is a list of its own; more than fit are tried one by one instead.
    static constexpr std::size_t lists_max = 16;
    std::array<std::span<const std::uint32_t>, lists_max> lists_;
    std::size_t count_ = 0;
    bool every_ = false;
    std::uint32_t position_ = 0;  // of the next route when `every_`
};

}  // namespace orlop::model
