// Every destination that a VirtualHost may lead to, in place: to find them, or to put others there.
#pragma once

#include "daemon/model/route.h"

namespace orlop::control {

// `route`: model::HttpRoute, const or not. Visits DestinationPtr&; some are null.
template <class Route, class Visit> void each_destination_of_route(Route& route, Visit& visit) {
    for (auto& choice : route.destinations) {
        visit(choice.destination);
    }
    for (auto& mirror : route.mirrors) {
        visit(mirror.destination);
    }
}

// `host`: model::VirtualHost, const or not.
template <class Host, class Visit> void each_destination(Host& host, Visit visit) {
    visit(host.whole);
    for (auto& route : host.routes) {
        each_destination_of_route(route, visit);
    }
    for (auto* streams : {&host.tls, &host.tcp}) {
        for (auto& stream : *streams) {
            each_destination_of_route(stream.choice, visit);
        }
    }
}

}  // namespace orlop::control
