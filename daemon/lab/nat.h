// Kernel NAT of service addresses, as one nftables transaction per node and family.
//
// render_nat() is pure: services and their ready endpoints in, text for `nft -f -` out. The text
// replaces the lab's table as a whole, so a node never sees half of a change. Each connection draws
// its endpoint at random; a service port without endpoint refuses with a TCP reset, as kube-proxy
// refuses; a pod that reaches itself through a service is masqueraded, or it would answer itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace orlop::lab {

struct NatEndpoint {
    std::string ip;
    std::uint16_t port = 0;
};

struct NatPort {
    std::string service_ip;
    std::string protocol;  // tcp, udp
    std::uint16_t port = 0;
    std::vector<NatEndpoint> endpoints;  // in the family of service_ip
};

enum class NatFamily : unsigned char { ip, ip6 };

std::string render_nat(NatFamily family,
                       const std::vector<NatPort>& ports,
                       const std::vector<std::string>& pod_ips);

}  // namespace orlop::lab
