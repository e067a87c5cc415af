#include "daemon/model/pod_destinations.h"

#include "daemon/model/stable_hash.h"

#include <functional>
#include <utility>

namespace orlop::model {

PodDestinations::~PodDestinations() {
    for (auto& list : made_) {
        Made* at = list.load();
        while (at != nullptr) {
            delete std::exchange(at, at->next);
        }
    }
}

const PodDestinations::Made*
PodDestinations::search(const Made* from, const Destination* whole, const SocketAddress& at) {
    while (from != nullptr && (from->whole != whole || from->address != at)) {
        from = from->next;
    }
    return from;
}

const Destination* PodDestinations::find(const DestinationPtr& whole,
                                         const SocketAddress& address,
                                         const WorkloadPtr& workload) {
    auto& list = made_[std::hash<SocketAddress>()(address) % lists];
    Made* head = list.load(std::memory_order_acquire);
    if (const Made* known = search(head, whole.get(), address)) {
        return &known->destination;
    }
    auto fresh = std::make_unique<Made>();
    fresh->address = address;
    fresh->whole = whole.get();
    fresh->destination = *whole;
    fresh->destination.endpoints = {{address, 1, workload}};
    fresh->destination.health.clear();  // whoever names a pod gets that pod
    fresh->destination.verdicts.reset();
    fresh->destination.hash_table.reset();
    fresh->destination.key = stable_hash(std::to_string(whole->key) + "@" + address.to_string());
    do {
        fresh->next = head;
        if (list.compare_exchange_weak(
                head, fresh.get(), std::memory_order_release, std::memory_order_acquire)) {
            return &fresh.release()->destination;
        }
    } while (search(head, whole.get(), address) == nullptr);
    return &search(head, whole.get(), address)->destination;
}

}  // namespace orlop::model
