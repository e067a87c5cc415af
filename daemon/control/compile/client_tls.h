// trafficPolicy.tls of a DestinationRule: the TLS that a caller speaks inside whatever wire leads
// to the endpoint (istio-semantics §8).
#pragma once

#include "daemon/control/compile/credentials.h"
#include "daemon/model/destination.h"

#include <string>

namespace orlop::control {

// Sets `tls`, or `broken` after a finding. `secret_ns`: where a gateway's Secrets are; empty for
// pods, whose Secrets are in the rule's own namespace.
void originate_tls(Credentials& credentials,
                   FindingSink& findings,
                   const std::string& secret_ns,
                   model::Destination& destination);

}  // namespace orlop::control
