// The checks of analyze() that have files of their own. Each reports into the sink, nothing else.
// else.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"

namespace orlop::control {

// Times of several objects that cannot work together, as far as the objects alone tell.
void check_chains(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings);

// Shares of traffic that no endpoint takes.
void check_weights(const model::Snapshot& snapshot, FindingSink& findings);

// Limits of a DestinationRule that refuse traffic by their combination.
void check_pool_limits(const ObjectStore& store, FindingSink& findings);

// Port names that say no protocol; namespaces with rules whose pods are not enrolled.
void check_ports(const ObjectStore& store, FindingSink& findings);
void check_enrolment(const ObjectStore& store,
                     const model::Snapshot& snapshot,
                     FindingSink& findings);

}  // namespace orlop::control
