#include "daemon/decide/match_stream.h"

#include "daemon/model/gateway.h"

#include <algorithm>

namespace orlop::decide {
namespace {

bool from_there(const model::StreamMatch& match, const StreamView& view) {
    if (!match.source_namespace.empty() && match.source_namespace != view.source_namespace) {
        return false;
    }
    return std::ranges::all_of(match.source_labels, [&](const auto& wanted) {
        if (view.source_labels == nullptr) {
            return false;
        }
        auto found = view.source_labels->find(wanted.first);
        return found != view.source_labels->end() && found->second == wanted.second;
    });
}

bool holds(const model::StreamMatch& match, const StreamView& view) {
    bool named =
        match.server_names.empty() ||
        std::ranges::any_of(match.server_names, [&](const std::string& pattern) {
            return !view.server_name.empty() && model::name_covers(pattern, view.server_name);
        });
    bool there = match.destinations.empty() ||
                 std::ranges::any_of(match.destinations, [&](const Cidr& range) {
                     return range.contains(view.destination.ip);
                 });
    return named && there && (match.port == 0 || match.port == view.port) &&
           from_there(match, view);
}

}  // namespace

const model::StreamRoute* match_stream(const std::vector<model::StreamRoute>& routes,
                                       const StreamView& view) {
    auto found = std::ranges::find_if(routes, [&](const model::StreamRoute& route) {
        return route.matches.empty() ||
               std::ranges::any_of(route.matches, [&](const model::StreamMatch& match) {
                   return holds(match, view);
               });
    });
    return found == routes.end() ? nullptr : &*found;
}

}  // namespace orlop::decide
