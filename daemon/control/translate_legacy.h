// translate_legacy: the RouteRules and DestinationPolicies of a store as current objects.
//
// The idea: compile() and `orlopctl convert` share this one translation, so that what convert
// prints is what is in force. The rules of one host become one VirtualService, higher precedence
// first, ties in order of creation; the labels that picked endpoints become subsets of one
// DestinationRule. Elements keep the RouteRule, file and line they came from, for `explain`.
//
// The results count as older than every current object of the same host: a VirtualService written
// today overrides a RouteRule. Pure; control thread.
//
//     Translation current = translate_legacy(store);
//     for (const ObjectPtr& object : current.virtual_services) print(object->written);
#pragma once

#include "daemon/control/finding.h"
#include "daemon/control/object_store.h"

#include <vector>

namespace orlop::control {

struct Translation {
    // Keys carry the legacy kind, so that a real object of the same name stays apart; what
    // counts as written are documents of networking.istio.io/v1.
    std::vector<ObjectPtr> virtual_services;
    std::vector<ObjectPtr> destination_rules;
    Findings notes;  // what could not be carried across objects
};

Translation translate_legacy(const ObjectStore& store);

}  // namespace orlop::control
