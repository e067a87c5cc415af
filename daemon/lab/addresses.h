// Addresses of a lab: which node, pod and service gets which, in both families.
//
//   node N gateway   10.244.N.1/24        fd00:10:244:N::1/64
//   pod              10.244.N.2 .. .251   fd00:10:244:N::2 .. ::fb (same last number)
//   service          10.96.0.10 upwards   fd00:10:96::a upwards (same number)
//   wire between     172.31.0.N/30        fd00:172:31::N/64
//
// Numbers are handed out in turn and reused as late as possible, so that a late packet for a gone
// pod does not reach its successor. Values; owned by the supervisor.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/limits.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace orlop::lab {

inline constexpr int pod_number_first = 2;
inline constexpr int pod_number_last =
    pod_number_first + static_cast<int>(limits::lab_pods_per_node_max) - 1;
static_assert(pod_number_last <= 254, "the /24 of a node has a number for each of its pods");
inline constexpr int service_number_first = 10;
inline constexpr int service_number_last = 65'534;

inline constexpr std::string_view service_range4 = "10.96.0.0/16";
inline constexpr std::string_view service_range6 = "fd00:10:96::/112";

std::string gateway4(int node);
std::string gateway6(int node);
std::string pod_range4(int node);
std::string pod_range6(int node);
std::string pod_ip4(int node, int number);
std::string pod_ip6(int node, int number);
std::string wire4(int node);
std::string wire6(int node);
std::string service_ip4(int number);
std::string service_ip6(int number);

// Numbers of [first, last], each held by at most one owner.
class NumberPool {
public:
    NumberPool(int first, int last) : first_(first), last_(last), next_(first) {}
    Result<int> take();
    bool take_exactly(int number);  // false: out of range or held
    void give_back(int number) { held_.erase(number); }
    std::size_t held() const { return held_.size(); }

private:
    int first_;
    int last_;
    int next_;
    std::set<int> held_;
};

// The number of an address a manifest asks for in spec.clusterIP; invalid_input when outside.
Result<int> service_number(std::string_view address);

}  // namespace orlop::lab
