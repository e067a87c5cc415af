// Kubernetes' own kinds, reduced to what the mesh reads from them. Values, immutable once decoded.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/model/destination.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

struct NamespaceSpec {};  // labels are in ObjectMeta
struct ServiceAccountSpec {};

struct ContainerPort {
    std::string name;
    std::uint16_t port = 0;
};

struct PodSpec {
    std::string node;             // spec.nodeName
    std::string service_account;  // "default" when absent
    bool host_network = false;
    std::vector<ContainerPort> ports;
    std::vector<std::uint16_t> probe_ports;  // named ports resolved
    std::vector<IpAddress> addresses;        // status.podIPs, else status.podIP
    std::optional<IpAddress> host_ip;        // status.hostIP
    bool ready = true;         // condition Ready; true when the status lists no conditions
    bool finished = false;     // phase Succeeded or Failed: its addresses may belong to others
    bool terminating = false;  // metadata.deletionTimestamp
};

struct ServiceSpec {
    std::string type = "ClusterIP";
    std::vector<IpAddress> addresses;  // clusterIPs, else clusterIP; empty when headless
    bool headless = false;
    std::string external_name;  // type ExternalName: the name it stands for, lower-case
    bool publish_not_ready = false;
    model::Labels selector;
    std::vector<model::ServicePort> ports;  // UDP and SCTP ports have Protocol::udp
    std::vector<std::string> export_to;     // annotation networking.istio.io/exportTo
};

// EndpointSlice, or Endpoints turned into slices of one group each.
struct EndpointSliceSpec {
    struct Port {
        std::string name;
        std::uint16_t port = 0;
    };
    struct Member {
        std::vector<IpAddress> addresses;
        bool ready = true;
        std::string node;
    };
    struct Group {
        std::vector<Port> ports;
        std::vector<Member> members;
    };
    std::string service;  // label kubernetes.io/service-name, or the Endpoints' own name
    std::vector<Group> groups;
};

struct NodeSpec {
    std::vector<IpAddress> addresses;  // InternalIP and ExternalIP
};

// metav1.LabelSelector. An empty selector selects everything.
struct LabelSelector {
    enum class Operator : unsigned char { in, not_in, exists, does_not_exist };
    struct Expression {
        std::string key;
        Operator op = Operator::in;
        std::vector<std::string> values;
    };
    model::Labels match_labels;
    std::vector<Expression> expressions;
    bool matches(const model::Labels& labels) const;
};

struct NetworkPolicySpec {
    LabelSelector pods;
};

}  // namespace orlop::control
