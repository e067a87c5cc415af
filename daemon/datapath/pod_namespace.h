// What is done inside a pod's network namespace besides upstream sockets: looking around, the loop
// routing, the listeners. Control thread; every function visits the namespace and is back on
// return.
#pragma once

#include "bpf/abi.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/datapath/datapath.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orlop::datapath {

// Opens and checks that it is a network namespace, and neither ours nor the host's.
Result<UniqueFd> open_pod_netns(const std::string& path);
Result<std::uint64_t> netns_cookie_of(int netns_fd);

struct Surroundings {
    std::vector<IpAddress> addresses;  // the given ones, then those found, without repeats
    int mark_sysctls = 0;
};
// Refuses a pod without any address or with more than ORLOP_POD_ADDRESSES_MAX.
Result<Surroundings> look_around(int netns_fd, const std::vector<IpAddress>& given);

Result<void>
add_routing(int netns_fd, const std::vector<IpAddress>& addresses, SourceAddress source);
// Removes rules and routes; restores the sysctls when `mark_sysctls` is given.
Result<void> remove_routing(int netns_fd, std::optional<int> mark_sysctls);

Result<Listeners> make_listeners(int netns_fd);

// The namespace with this cookie: at `path`, else looked for among /run/netns and /proc/*/ns/net.
Result<UniqueFd> find_netns(const std::string& path, std::uint64_t cookie);

}  // namespace orlop::datapath
