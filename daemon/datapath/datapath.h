// Datapath: owns everything orlop puts into the kernel to capture pods, and takes it out again.
//
// Host-wide there are two pinned cgroup links (connect4, connect6) and the pinned maps of
// bpf/maps.h; per pod one pinned sk_lookup link, three listeners, policy rules and a route table in
// the pod's namespace. Each step is idempotent and journaled, so that a daemon that died at any
// point is followed by one that finds out what exists and goes on. While no daemon serves, the
// pinned programs decide by each pod's WhenGone: nothing reaches or leaves a closed pod.
//
// A pod's way:   prepare -> open_listeners -> activate -> (update)* -> begin_leave -> finish_leave
//                forget() at any time when the pod itself is gone.
//
// Lifetime and threads: one Datapath per process and instance name, used by the control thread
// only (beat() and counters() may be called from any thread). Calls block for well under a
// millisecond except prepare/activate (about one). Fds returned by open_listeners belong to the
// caller; closing the last reference of a listener removes it from the kernel's table by itself.
//
//     auto datapath = Datapath::open(options);                 // Result
//     auto pod = (*datapath)->prepare(spec);
//     auto listeners = (*datapath)->open_listeners(spec.uid);  // arm accepts on the home core ...
//     (*datapath)->activate(spec.uid);                         // ... before capture starts
//     every 500 ms: (*datapath)->beat();
//
// What an accepted socket says: getsockname is the original destination, getpeername the caller;
// IPv4 appears v4-mapped on a dual-stack listener. Listeners are bound to the wildcard and an
// ephemeral port that someone may find. So close an accepted connection whose local address is
// loopback or the pod's own if it came by `outbound`, or if its local port is the listener's own
// (getsockname of the listener): it was not steered. `local` serves loopback:15020 and :15021.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/ip.h"
#include "daemon/base/unique_fd.h"
#include "daemon/datapath/sockets.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::datapath {

struct Options {
    std::string instance = "default";  // [a-z0-9-]{1,32}; several instances share a machine
    std::string bpffs_dir;             // default /sys/fs/bpf/orlop-<instance>; its parent is bpffs
    std::string cgroup_path;           // a cgroup v2 directory; default: the root of the v2 mount
    std::string state_dir = "/run/orlop";  // journal: <state_dir>/datapath-<instance>.journal
};

struct PortRange {
    std::uint16_t first = 0;  // both ends included
    std::uint16_t last = 0;
    auto operator<=>(const PortRange&) const = default;
};

// traffic.sidecar.istio.io/exclude{Inbound,Outbound}Ports, excludeOutboundIPRanges. At most 64 of
// each, the mesh-wide lists included.
struct Exclusions {
    std::vector<PortRange> outbound_ports;
    std::vector<Cidr> outbound_ranges;
    std::vector<PortRange> inbound_ports;
    bool operator==(const Exclusions& other) const;
};

enum class WhenGone : std::uint8_t { open, closed };              // while orlopd does not serve
enum class SourceAddress : std::uint8_t { caller, pod };          // what the app sees as its peer
enum class InboundCapture : std::uint8_t { captured, bypassed };  // bypass-inbound-capture

struct PodPolicy {
    WhenGone outbound_when_gone = WhenGone::closed;
    WhenGone inbound_when_gone = WhenGone::closed;  // closed for every STRICT workload
    InboundCapture inbound = InboundCapture::captured;
    Exclusions exclusions;
};

struct PodSpec {
    std::string uid;         // 1..253 bytes of [A-Za-z0-9._:/-]
    std::string netns_path;  // /proc/<pid>/ns/net, /run/netns/<name>
    // The pod's addresses, first of each family first. Addresses found on the interfaces of the
    // namespace are added, so this may be empty.
    std::vector<IpAddress> addresses;
    SourceAddress source = SourceAddress::caller;
    PodPolicy policy;
};

enum class PodState : std::uint8_t { prepared, listening, enrolled, draining };
std::string_view pod_state_name(PodState state);

struct PreparedPod {
    std::uint32_t slot = 0;          // 1..4096, the pod's number in the kernel maps
    std::uint64_t netns_cookie = 0;  // SO_NETNS_COOKIE; unique until reboot
    std::vector<IpAddress> addresses;
    std::shared_ptr<const PodNetwork> network;  // for open_upstream_socket, on any core
};

struct Listeners {  // all listening, non-blocking, in the pod's namespace
    UniqueFd outbound;
    UniqueFd inbound;  // HBONE too: the local port, 15008, tells
    UniqueFd local;    // loopback :15020 and :15021, unless the app listens there itself
};

struct AdoptedPod {   // found in the kernel at open(), not yet claimed by prepare()
    std::string uid;  // empty when the journal was lost: prepare() then matches by cookie
    std::uint32_t slot = 0;
    std::uint64_t netns_cookie = 0;
    PodState state = PodState::prepared;
};

struct Counter {
    std::string_view name;  // orlop_reason without prefix, stable: a metric label
    std::string_view text;
    std::uint64_t count = 0;
};

enum class CheckLevel : std::uint8_t { ok, warning, failure };
struct Check {
    std::string name;
    CheckLevel level = CheckLevel::ok;
    std::string detail;
    std::string remedy;  // empty when ok
};

enum class Pins : std::uint8_t { keep, remove };

class Datapath {
public:
    // Pre-flight: privileges, mounts, kernel features by probing, foreign programs. Never fails;
    // loads only throw-away probes. Mounts bpffs when absent and permitted.
    static std::vector<Check> check(const Options& options);

    // Loads, or adopts what is pinned: maps are kept, programs replaced in place without a moment
    // of no program. Fails with the name and remedy of what is missing.
    static Result<std::unique_ptr<Datapath>> open(Options options);

    // Removes every program, link, map, pin, rule, route and sysctl of the instance, also in the
    // namespaces of pods that still exist. Needs no daemon; must not run beside one. Idempotent.
    // Returns what it removed, for people.
    static Result<std::vector<std::string>> uninstall(const Options& options);

    ~Datapath();  // as close(Pins::keep)
    Datapath(const Datapath&) = delete;
    Datapath& operator=(const Datapath&) = delete;

    // Lists that apply to every pod besides its own. Pods known so far are rewritten when the lists
    // are other ones than before.
    Result<void> set_mesh_exclusions(const Exclusions& exclusions);
    // The kernel refused them for some pod: set_mesh_exclusions() again.
    bool exclusions_unwritten() const;

    Result<PreparedPod> prepare(const PodSpec& spec);
    Result<Listeners> open_listeners(std::string_view uid);
    Result<void> activate(std::string_view uid);
    Result<void> update(std::string_view uid, const PodPolicy& policy);

    // New outbound and inbound connections go direct; live ones continue. Then, when the last
    // captured connection ended (and at least a second later, for SYNs in flight), finish_leave.
    // activate() takes the pod back at any time between the two.
    Result<void> begin_leave(std::string_view uid);
    Result<void> finish_leave(std::string_view uid);
    Result<void> forget(std::string_view uid);  // pod deleted: no visit to its namespace
    // After a batch of the above: the journal learns how far each pod has come, and who is gone.
    Result<void> write_states();

    void beat();  // at least every 500 ms while serving; expiry is 2 s

    std::vector<AdoptedPod> adopted_pods() const;
    Result<void> remove_unclaimed();  // after the first full list of pods was prepared

    std::vector<Counter> counters() const;  // all reasons, also those at 0
    // Every link, map, rule and route in the kernel, one line each. The static one needs no daemon.
    std::vector<std::string> list_owned() const;
    static std::vector<std::string> list_owned(const Options& options);

    Result<void> close(Pins pins);

private:
    struct Impl;
    explicit Datapath(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace orlop::datapath
