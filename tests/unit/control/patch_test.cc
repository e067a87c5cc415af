// Compiling what changed gives what compiling everything gives, for random changes of a small mesh
// in which everything collides: addresses, uids, selectors, exports.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "tests/unit/control/patch_world.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace orlop::control {
namespace {

// --- a Snapshot as text ---

std::string text_of(const model::Destination* destination) {
    if (destination == nullptr) {
        return "-";
    }
    std::string out = fmt::format("{}#{}[", destination->cluster_name, destination->key);
    for (const model::Endpoint& endpoint : destination->endpoints) {
        out += fmt::format("{}*{}@{} ",
                           endpoint.address.to_string(),
                           endpoint.weight,
                           endpoint.workload ? endpoint.workload->uid : "");
    }
    for (const auto& cell : destination->health) {
        out += fmt::format("+{}/{}", cell->address.to_string(), cell->uid);
    }
    bool hashed = destination->hash_table != nullptr;
    bool fits = hashed && destination->hash_table->serves(*destination->policy.consistent_hash,
                                                          destination->endpoints);
    return out +
           fmt::format("] verdicts {} hash {} {}", destination->verdicts != nullptr, hashed, fits);
}

std::string text_of(const model::Workload& workload) {
    std::string policies;
    if (workload.authorization) {
        for (const auto* list : {&workload.authorization->deny, &workload.authorization->allow}) {
            for (const auto& policy : *list) {
                policies += policy->source->to_string() + " ";
            }
        }
    }
    std::string ips;
    for (const IpAddress& address : workload.addresses) {
        ips += address.to_string() + " ";
    }
    return fmt::format("{} {}/{} {} {} ready {} redirected {} enrol {} local {} netns {} mtls {} "
                       "policies {} sidecar {} region {} netpol {} version {}",
                       workload.uid,
                       workload.ns,
                       workload.name,
                       ips,
                       workload.identity.to_string(),
                       workload.ready,
                       workload.redirected,
                       workload.enrol_wanted,
                       workload.local,
                       workload.netns,
                       static_cast<int>(workload.mtls),
                       policies,
                       workload.sidecar,
                       workload.locality.region,
                       workload.network_policy_selected,
                       workload.version);
}

class Dump {
public:
    explicit Dump(const model::Snapshot& snapshot) : snapshot_(snapshot) {
        for (const auto& destination : snapshot.destinations()) {
            known_.insert(destination.get());
            line("destination {}", text_of(destination.get()));
            line("found {}", text_of(snapshot.find_destination(destination->key)));
        }
        for (const auto& host : snapshot.virtual_hosts()) {
            line("host {}", text_of(host.get()));
        }
        for (const auto& workload : snapshot.workloads()) {
            line("workload {}", text_of(*workload));
        }
        for (const auto& workload : snapshot.local_workloads()) {
            line("local {} {}", workload->uid, workload->name);
        }
        for (const auto& gateway : snapshot.gateways()) {
            dump_gateway(*gateway);
        }
        for (const char* scope : {"", "a", "b", "a/side", "istio-system"}) {
            dump_scope(scope);
        }
        line("node addresses {} {}",
             snapshot.is_node_address(*IpAddress::parse("10.9.9.1")),
             snapshot.is_node_address(*IpAddress::parse("10.9.9.2")));
    }
    const std::string& text() const { return text_; }

private:
    template <class... Args> void line(fmt::format_string<Args...> format, Args&&... args) {
        text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
    }
    // Whatever leads to a destination leads to that of this Snapshot.
    std::string own(const model::Destination* destination) const {
        bool stale = destination != nullptr && !known_.contains(destination);
        return text_of(destination) + (stale ? " STALE" : "");
    }
    std::string text_of_route(const model::HttpRoute& route) const {
        std::string out = "(";
        for (const auto& choice : route.destinations) {
            out += fmt::format("{} of {} ", own(choice.destination.get()), choice.wanted);
        }
        for (const auto& mirror : route.mirrors) {
            out += "mirror " + own(mirror.destination.get());
        }
        return out + ")";
    }
    std::string text_of(const model::VirtualHost* host) const {
        if (host == nullptr) {
            return "-";
        }
        std::string out =
            fmt::format("{}:{} whole {} ", host->host, host->port, own(host->whole.get()));
        for (const auto& route : host->routes) {
            out += text_of_route(route);
        }
        for (const auto* streams : {&host->tls, &host->tcp}) {
            for (const auto& stream : *streams) {
                out += text_of_route(stream.choice);
            }
        }
        return out + fmt::format(" limits {}", host->rate_limits.size());
    }
    static std::string text_of(const model::Destination* destination) {
        return control::text_of(destination);
    }
    static std::string text_of(const model::Workload& workload) {
        return control::text_of(workload);
    }
    void dump_gateway(const model::GatewayListener& gateway) {
        for (const auto& server : gateway.servers) {
            line("gateway {} {} {}",
                 gateway.address.to_string(),
                 server.name,
                 text_of(server.hosts.find("shop.example.com")));
            for (const auto& route : server.routes) {
                line("  bytes {}", text_of_route(route.choice));
            }
        }
    }
    void dump_target(const std::string& scope, const SocketAddress& address) {
        auto target = snapshot_.resolve_outbound(scope, address);
        bool single = target.workload != nullptr || target.destination == nullptr ||
                      known_.contains(target.destination) ||
                      target.destination->endpoints.size() == 1;
        line("{} {} -> {} {} by port {} {} | {} | {} {}",
             scope,
             address.to_string(),
             target.service == nullptr ? "-" : target.service->host,
             target.port == nullptr ? 0 : target.port->port,
             target.by_port,
             target.workload == nullptr ? "-" : target.workload->uid,
             text_of(target.virtual_host),
             text_of(target.destination),
             single ? "" : "STALE");
    }
    void dump_scope(const std::string& scope) {
        Texts ips = {"10.1.9.9", "192.0.2.1", "192.0.2.7", "10.77.0.1"};
        for (int i = 0; i < addresses; ++i) {
            ips.push_back(ip_of(i));
        }
        for (int i = 0; i < 6; ++i) {
            ips.push_back(fmt::format("10.1.0.{}", i));
        }
        for (const std::string& ip : ips) {
            for (std::uint16_t port : {80, 81, 9090, 9191}) {
                dump_target(scope, {*IpAddress::parse(ip), port});
            }
        }
        for (const char* host : {"s0",
                                 "s1.b",
                                 "s2.a.svc",
                                 "s3.b.svc.cluster.local",
                                 "alias.b",
                                 "out.example.com",
                                 "in.example.com"}) {
            line("{} {} -> {}", scope, host, text_of(snapshot_.find_virtual_host(scope, host, 80)));
        }
    }

    const model::Snapshot& snapshot_;
    std::set<const model::Destination*> known_;
    std::string text_;
};

Texts sorted(const Findings& findings) {
    Texts out;
    for (const Finding& finding : findings) {
        out.push_back(finding.to_string());
    }
    std::ranges::sort(out);
    return out;
}

std::string first_difference(const std::string& a, const std::string& b) {
    std::size_t at = 0;
    while (at < a.size() && at < b.size() && a[at] == b[at]) {
        ++at;
    }
    std::size_t begin = at == 0 ? 0 : a.rfind('\n', at - 1) + 1;
    auto line_at = [&](const std::string& text) {
        return begin >= text.size() ? "" : text.substr(begin, text.find('\n', at) - begin);
    };
    return a == b ? "" : line_at(a) + "\n  instead of\n" + line_at(b);
}

struct Counts {
    int patched = 0;
    int whole = 0;
};

Counts compare(unsigned seed, int steps) {
    World world(seed);
    ObjectStore store;
    Compiler incremental;
    Compiler from_scratch;
    std::int64_t clock = 0;
    std::uint64_t generation = 0;
    auto write = [&](const std::pair<std::string, std::string>& change) {
        const auto& [file, text] = change;
        return text.empty() ? store.remove_source(file)
                            : store.replace_source(
                                  file,
                                  decode_text(text, {.file = file, .origin = Origin::sandbox}),
                                  ++clock);
    };
    for (int i = 0; i < pods; ++i) {
        write(world.pod(i));
        write(world.service(i % 6));
    }
    Counts run;
    model::SnapshotPtr held;  // as the cores hold it: health cells live on
    for (int step = 0; step < steps; ++step) {
        bool changed = false;
        std::string last;
        for (int more = world.below(3); more >= 0; --more) {
            auto change = world.change();
            last += change.first + ": " + change.second + "\n";
            changed = write(change) || changed;
        }
        if (!changed) {
            continue;
        }
        CompileOptions options{.node = "n1", .generation = ++generation};
        CompileResult one = incremental.compile(store, options);
        options.extent = CompileExtent::everything;
        CompileResult two = from_scratch.compile(store, options);
        ++(one.extent == CompileExtent::what_changed ? run.patched : run.whole);
        EXPECT_EQ(two.extent, CompileExtent::everything);
        std::string difference =
            first_difference(Dump(*one.snapshot).text(), Dump(*two.snapshot).text());
        EXPECT_EQ(difference, "") << "seed " << seed << " step " << step << "\n" << last;
        EXPECT_EQ(sorted(one.findings), sorted(two.findings)) << "seed " << seed << "\n" << last;
        EXPECT_EQ(one.dns_names, two.dns_names);
        held = one.snapshot;
        if (testing::Test::HasFailure()) {
            break;
        }
    }
    return run;
}

TEST(Patch, compiling_what_changed_gives_what_compiling_everything_gives) {
    Counts all;
    for (unsigned seed = 1; seed <= 30 && !HasFailure(); ++seed) {
        Counts run = compare(seed, 120);
        all.patched += run.patched;
        all.whole += run.whole;
    }
    EXPECT_GT(all.patched, all.whole / 2);  // both ways were taken often
    EXPECT_GT(all.whole, 100);
    RecordProperty("patched", all.patched);
    RecordProperty("whole", all.whole);
}

}  // namespace
}  // namespace orlop::control
