// Namespaces, links, addresses, routes: what `ip` is told.
//
// A node's namespace holds bridge br0 with the gateway addresses, one port p<number> per pod, and,
// with two nodes, `uplink` to the other. A pod reaches everything through its gateway with host
// addresses and an on-link route, so that answers pass the node's NAT even between two pods of one
// bridge. Both ends of every link are made inside the namespaces; the machine's own sees none.
#pragma once

#include "daemon/base/error.h"
#include "daemon/lab/lab.h"

#include <string>
#include <vector>

namespace orlop::lab {

std::string netns_path(const std::string& name);                      // /run/netns/<name>
std::vector<std::string> list_netns(const std::string& name_prefix);  // names
Result<void> delete_netns(const std::string& name);                   // absent is fine

struct NodePlan {
    std::string netns;  // name
    int number = 1;
    Families families = Families::dual;
};
Result<void> make_node_network(const NodePlan& node);
Result<void> join_nodes(const NodePlan& first, const NodePlan& second);

struct PodPlan {
    std::string netns;       // name
    std::string node_netns;  // name
    int node = 1;
    int number = 2;
    Families families = Families::dual;
};
Result<void> make_pod_network(const PodPlan& pod);
// Cuts the link first: a namespace lives on while anyone holds a socket in it.
Result<void> remove_pod_network(const PodPlan& pod);

}  // namespace orlop::lab
