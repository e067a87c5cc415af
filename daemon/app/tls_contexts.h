// TlsContexts: what the Snapshot says about TLS with peers outside the mesh, as contexts on every
// core. Built here, so that no data core ever parses a certificate. Control thread.
//
//     contexts.follow(snapshot);   // before the snapshot is published
//     contexts.drop_unused();      // after
#pragma once

#include "daemon/app/certificates.h"
#include "daemon/app/core_set.h"
#include "daemon/model/snapshot.h"

#include <map>
#include <set>
#include <string>

namespace orlop::app {

class TlsContexts {
public:
    TlsContexts(CoreSet& cores, const Certificates& certificates)
        : cores_(cores), certificates_(certificates) {}

    void follow(const model::Snapshot& snapshot);
    void drop_unused();
    // Terms that show a mesh identity follow its renewed certificate; live connections keep theirs.
    void renew(const model::Snapshot& snapshot);

private:
    void hand_out(const TlsTermsPtr& terms);

    CoreSet& cores_;
    const Certificates& certificates_;
    std::map<std::string, std::string> held_;  // key -> the certificates shown, PEM
    std::set<std::string> wanted_;
};

}  // namespace orlop::app
