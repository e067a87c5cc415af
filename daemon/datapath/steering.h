// Steering: the sk_lookup programs. One body, loaded once and kept by the pinned map `bodies`, and
// for each pod a copy of a few instructions that knows the pod's slot and continues in that body:
// loading it takes a tenth of what the body takes, in time and in kernel memory.
//
// Control thread. The maps must outlive the call of load().
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <memory>

struct bpf_object;

namespace orlop::datapath {

class Steering {
public:
    // Loads the body and puts it where every pod's copy, also those a predecessor attached, goes
    // on from the next lookup. `maps_of` has loaded all maps of bpf/maps.h.
    static Result<Steering> load(bpf_object* maps_of);
    Steering(Steering&&) noexcept;
    Steering& operator=(Steering&&) noexcept;
    ~Steering();

    // The program to attach to the namespace of the pod in `slot`.
    Result<UniqueFd> make_entry(std::uint32_t slot) const;

private:
    struct Entry;  // the instructions of all copies
    explicit Steering(std::unique_ptr<Entry> entry);
    std::unique_ptr<Entry> entry_;
};

}  // namespace orlop::datapath
