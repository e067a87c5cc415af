#include "daemon/model/route_index.h"

#include <algorithm>

namespace orlop::model {
namespace {

constexpr std::size_t routes_worth_an_index = 16;

// FNV-1a, fed byte by byte: one pass over a path gives the hash of each of its prefixes.
constexpr std::uint64_t hash_start = 14695981039346656037ull;
constexpr std::uint64_t hash_step(std::uint64_t hash, char c) {
    return (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
}

std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = hash_start;
    for (char c : text) {
        hash = hash_step(hash, c);
    }
    return hash;
}

void add_once(RouteIndex::Routes& routes, std::uint32_t route) {
    if (routes.empty() || routes.back() != route) {
        routes.push_back(route);
    }
}

void add_match(const HttpMatch& match, std::uint32_t route, RouteIndex& index) {
    using Kind = StringMatch::Kind;
    bool by_text = match.uri && !match.uri->ignore_case;
    if (by_text && match.uri->kind == Kind::exact) {
        add_once(index.exact[hash_of(match.uri->text)], route);
        index.exact_length_max = std::max(index.exact_length_max, match.uri->text.size());
    } else if (by_text && match.uri->kind == Kind::prefix) {
        add_once(index.prefix[hash_of(match.uri->text)], route);
        index.prefix_lengths.push_back(static_cast<std::uint32_t>(match.uri->text.size()));
    } else {
        add_once(index.others, route);
    }
}

}  // namespace

std::shared_ptr<const RouteIndex> make_route_index(const std::vector<HttpRoute>& routes) {
    if (routes.size() < routes_worth_an_index) {
        return nullptr;
    }
    auto index = std::make_shared<RouteIndex>();
    for (std::uint32_t i = 0; i < routes.size(); ++i) {
        for (const HttpMatch& match : routes[i].matches) {
            add_match(match, i, *index);
        }
        if (routes[i].matches.empty()) {
            add_once(index->others, i);
        }
    }
    std::ranges::sort(index->prefix_lengths);
    auto twins = std::ranges::unique(index->prefix_lengths);
    index->prefix_lengths.erase(twins.begin(), twins.end());
    return index;
}

RouteCandidates::RouteCandidates(const RouteIndex& index, std::string_view path) {
    if (!index.others.empty()) {
        lists_[count_++] = index.others;
    }
    std::uint64_t hash = hash_start;
    std::size_t at = 0;
    for (std::uint32_t length : index.prefix_lengths) {
        if (length > path.size()) {
            break;
        }
        for (; at < length; ++at) {
            hash = hash_step(hash, path[at]);
        }
        add(index.prefix, hash);
    }
    if (path.size() <= index.exact_length_max) {
        for (; at < path.size(); ++at) {
            hash = hash_step(hash, path[at]);
        }
        add(index.exact, hash);
    }
}

void RouteCandidates::add(const std::unordered_map<std::uint64_t, RouteIndex::Routes>& routes,
                          std::uint64_t hash) {
    auto found = routes.find(hash);
    if (found == routes.end()) {
        return;
    }
    if (count_ == lists_max) {
        every_ = true;
        return;
    }
    lists_[count_++] = found->second;
}

std::uint32_t RouteCandidates::next() {
    if (every_) {
        return position_++;  // the caller stops at the last route
    }
    std::uint32_t least = none;
    for (std::size_t i = 0; i < count_; ++i) {
        if (!lists_[i].empty()) {
            least = std::min(least, lists_[i].front());
        }
    }
    for (std::size_t i = 0; i < count_; ++i) {
        if (!lists_[i].empty() && lists_[i].front() == least) {
            lists_[i] = lists_[i].subspan(1);
        }
    }
    return least;
}

}  // namespace orlop::model
