// analyze: what is suspicious about a store, for `orlopctl analyze` on files and live.
//
// Includes the store's own findings (refused objects, unknown fields), what compile() reports, and
// checks that only matter to people:
//
// | code | finding |
// |---|---|
// | IST0101 | a host, subset, gateway or port that does not exist is named |
// | IST0102 | a namespace with rules, none of whose pods is in the mesh |
// | IST0109 | several VirtualServices for one host |
// | IST0118 | a port name that says no protocol |
// | IST0119 | a selector or subset that selects no pod |
// | IST0130, IST0131 | a route or match that can never be reached |
// | IST0132 | a host of a VirtualService that its Gateway does not serve |
// | ORL001 | the object is refused or held |
// | ORL002 | unknown field |
// | ORL003 | accepted, not enforced yet |
// | ORL004 | several DestinationRules for one host |
// | ORL005 | perTryTimeout is not below timeout and is ignored |
// | ORL006 | the attempts cannot fit into the timeout |
// | ORL007 | weights: all zero, or traffic that goes nowhere |
// | ORL008 | a limit that can admit no request, or detection that can eject nothing |
// | ORL009 | a deprecated or ignored field |
// | ORL010 | several PeerAuthentications for one scope; the oldest is in force |
// | ORL011 | an object is defined in more than one file |
// | ORL012 | an annotation that cannot be read |
// | ORL013 | an address that belongs to two pods |
// | ORL020 | an injected fault that timeout and retries of its route do not reach |
// | ORL021 | a delay that outlasts the time its caller waits |
// | ORL022 | a field of a v1alpha2 object that the current objects cannot carry |
// | ORL030 | servers of Gateways that cannot share a port or a name |
// | ORL031 | credentials of a Gateway or DestinationRule that are missing or cannot work |
// | ORL032 | a Secret's or private key's file that others may read |
#pragma once

#include "daemon/control/finding.h"
#include "daemon/control/object_store.h"

#include <string>

namespace orlop::control {

struct AnalyzeOptions {
    std::string node;  // empty: no pod is local
};

// Errors first, then by file, line, code; no duplicates.
Findings analyze(const ObjectStore& store, const AnalyzeOptions& options = {});

}  // namespace orlop::control
