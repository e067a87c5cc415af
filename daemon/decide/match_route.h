// match_route: which route of a VirtualHost a request takes (istio-semantics §2).
//
// Pure and allocation-free (except for a matched header that occurs several times, whose values
// are joined by commas as RFC 9110 §5.3 reads them). Routes are tried top-down, matches inside one
// are OR, the conditions of a match are AND. Text that cannot be judged (a regex condition over
// bytes that are not UTF-8) satisfies neither a condition nor its negation.
//
// Lifetime: a RequestView borrows everything; it lives no longer than the request head it
// describes. Thread: any; the functions keep no state.
//
//     RequestView view{.method = head.method, .path = path, .query = query, ...};
//     const model::HttpMatch* which = nullptr;
//     const model::HttpRoute* route = match_route(*host, view, &which);
//     if (route == nullptr) { answer 404 NR route_not_found }
//     std::size_t choice = pick_weighted(*route, random64());
#pragma once

#include "daemon/model/route.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace orlop::decide {

struct HeaderField {
    std::string_view name;
    std::string_view value;
};

// A header list of any shape, read in place: `at(context, i)` for i below `count`.
struct HeaderSource {
    const void* context = nullptr;
    std::size_t count = 0;
    HeaderField (*at)(const void* context, std::size_t index) = nullptr;

    static HeaderSource of(std::span<const HeaderField> fields) {
        return HeaderSource{fields.data(), fields.size(), [](const void* context, std::size_t i) {
                                return static_cast<const HeaderField*>(context)[i];
                            }};
    }
};

struct RequestView {
    std::string_view method{};
    std::string_view path{};   // normalised, without query; "" when the target has none
    std::string_view query{};  // raw, without '?'
    std::string_view scheme = "http";
    std::string_view authority{};  // Host as sent
    HeaderSource headers{};        // without Host, :-prefixed names are answered from the above
    std::uint16_t port = 0;        // service port of the listener
    const model::Labels* source_labels = nullptr;  // null: no labels
    std::string_view source_namespace{};
};

// First matching route, or null. `which` (may be null) receives the HttpMatch that matched, or
// null for a route without matches.
const model::HttpRoute* match_route(const model::VirtualHost& host,
                                    const RequestView& request,
                                    const model::HttpMatch** which);

bool matches(const model::HttpMatch& match, const RequestView& request);
bool matches(const model::StringMatch& match, std::string_view text);

// Value of the first header called `name` (any case); false when absent.
bool find_header(const HeaderSource& headers, std::string_view name, std::string_view* value);

// Index into route.destinations, by weight; `random64` is uniform over all 64-bit values. A sole
// destination is taken whatever its weight. `no_destination` when there is none to take.
inline constexpr std::size_t no_destination = static_cast<std::size_t>(-1);
std::size_t pick_weighted(const model::HttpRoute& route, std::uint64_t random64);

// True with a probability of `percent` (0 to 100, parts per million as Istio truncates it).
bool chance(double percent, std::uint64_t random64);

}  // namespace orlop::decide
