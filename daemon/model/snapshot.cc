#include "daemon/model/snapshot.h"

#include "daemon/model/snapshot_tables.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace orlop::model {
namespace {

constexpr std::size_t host_bytes_max = 255;
constexpr std::size_t namespace_bytes_max = 63;

const Scope* scope_named(const Snapshot::Tables& tables, std::string_view name) {
    auto found = tables.scopes.find(name);
    return found == tables.scopes.end() ? nullptr : &found->second;
}

// A namespace's own scope holds only what differs: it is asked first, then the shared one.
std::array<const Scope*, 2> scopes_of(const Snapshot::Tables& tables, std::string_view name) {
    const Scope* own = name.empty() ? nullptr : scope_named(tables, name);
    bool alone = own != nullptr && own->names->stands_alone;
    return {own, alone ? nullptr : scope_named(tables, std::string_view())};
}

std::string_view namespace_of(std::string_view scope) {
    return scope.substr(0, scope.find('/'));
}

void fill(const Snapshot::Tables& tables, std::uint32_t number, OutboundTarget& target) {
    const PortTarget& entry = tables.fixed->targets[number];
    const ServicePtr& service = tables.fixed->services[entry.service];
    target.service = service.get();
    if (entry.port_index < service->ports.size()) {
        target.port = &service->ports[entry.port_index];
    }
    if (entry.virtual_host != nowhere) {
        target.virtual_host = tables.virtual_hosts[entry.virtual_host].get();
    }
    if (entry.destination != nowhere) {
        target.destination = tables.destinations[entry.destination].get();
    }
}

void fill_pod(const Snapshot::Tables& tables, const PodTarget& pod, OutboundTarget& target) {
    fill(tables, pod.target, target);
    if (pod.reach == PodTarget::Reach::that_one) {
        target.workload = pod.workload.get();
        std::uint32_t whole = tables.fixed->targets[pod.target].destination;
        target.destination =
            tables.single_pods.find(tables.destinations[whole], pod.address, pod.workload);
    }
}

bool find_range(const Snapshot::Tables& tables,
                const Scope& scope,
                const SocketAddress& original,
                OutboundTarget& target) {
    for (const auto& [range, number] : scope.names->ranges) {
        const PortTarget& entry = tables.fixed->targets[number];
        if (range.contains(original.ip) &&
            tables.fixed->services[entry.service]->ports[entry.port_index].port == original.port) {
            fill(tables, number, target);
            return true;
        }
    }
    return false;
}

// Authority without its port; an IPv6 literal keeps its brackets.
std::string_view host_part(std::string_view authority) {
    if (authority.starts_with('[')) {
        auto end = authority.find(']');
        return end == std::string_view::npos ? authority : authority.substr(0, end + 1);
    }
    return authority.substr(0, authority.find(':'));
}

const VirtualHost*
pick_port(const Snapshot::Tables& tables, const HostsByPort& candidates, std::uint16_t port) {
    for (const auto& [candidate_port, host] : candidates) {
        if (candidate_port == port || candidate_port == 0) {
            return tables.virtual_hosts[host].get();
        }
    }
    return nullptr;
}

using Scopes = std::array<const Scope*, 2>;

const VirtualHost* find_exact(const Snapshot::Tables& tables,
                              const Scopes& scopes,
                              std::string_view host,
                              std::uint16_t port) {
    for (const Scope* scope : scopes) {
        if (scope == nullptr) {
            continue;
        }
        const auto& hosts = scope->names->by_host;
        if (auto found = hosts.find(host); found != hosts.end()) {
            if (const VirtualHost* exact = pick_port(tables, found->second, port)) {
                return exact;
            }
        }
    }
    return nullptr;
}

// A scope with wildcards of its own lists all that its callers see, so that the longest wins.
const VirtualHost* find_wildcard(const Snapshot::Tables& tables,
                                 const Scopes& scopes,
                                 std::string_view host,
                                 std::uint16_t port) {
    for (const Scope* scope : scopes) {
        if (scope == nullptr) {
            continue;
        }
        for (const auto& [suffix, candidates] : scope->names->wildcards) {
            if (host.size() > suffix.size() && host.ends_with(suffix)) {
                if (const VirtualHost* wildcard = pick_port(tables, candidates, port)) {
                    return wildcard;
                }
            }
        }
    }
    return nullptr;
}

}  // namespace

Snapshot::Snapshot(std::uint64_t generation,
                   std::shared_ptr<const MeshConfig> mesh,
                   std::unique_ptr<const Tables> tables)
    : generation_(generation), mesh_(std::move(mesh)), tables_(std::move(tables)) {}

Snapshot::~Snapshot() = default;

const Workload* Snapshot::find_workload(const IpAddress& address) const {
    auto* found = tables_->workload_by_address.find(address);
    return found == nullptr ? nullptr : found->workload.get();
}

const Workload* Snapshot::find_workload_uid(std::string_view uid) const {
    if (auto* found = tables_->workload_by_uid.find(uid)) {
        return found->get();
    }
    const WorkloadPtr& gateway = tables_->gateway_workload;
    return gateway && gateway->uid == uid ? gateway.get() : nullptr;
}

WorkloadPtr Snapshot::share_workload(std::string_view uid) const {
    if (auto* found = tables_->workload_by_uid.find(uid)) {
        return *found;
    }
    const WorkloadPtr& gateway = tables_->gateway_workload;
    return gateway && gateway->uid == uid ? gateway : nullptr;
}

OutboundTarget Snapshot::resolve_outbound(std::string_view scope_name,
                                          const SocketAddress& original) const {
    OutboundTarget target;
    auto scopes = scopes_of(*tables_, scope_name);
    for (const Scope* scope : scopes) {
        if (scope == nullptr) {
            continue;
        }
        const auto& virtual_addresses = scope->names->by_address;
        if (auto found = virtual_addresses.find(original); found != virtual_addresses.end()) {
            fill(*tables_, found->second, target);
            return target;
        }
        if (const PodTarget* pod = scope->pods->find(original)) {
            fill_pod(*tables_, *pod, target);
            return target;
        }
        if (find_range(*tables_, *scope, original, target)) {
            return target;
        }
    }
    auto service = tables_->fixed->service_by_address.find(original.ip);
    if (service != tables_->fixed->service_by_address.end()) {
        target.service = tables_->fixed->services[service->second].get();
        return target;
    }
    target.workload = find_workload(original.ip);
    for (const Scope* scope : scopes) {
        if (scope == nullptr || target.workload != nullptr || target.by_port) {
            continue;
        }
        auto found = scope->names->by_port.find(original.port);
        if (found != scope->names->by_port.end()) {
            fill(*tables_, found->second, target);
            target.by_port = true;
            if (target.destination == nullptr) {
                target.service = nullptr;  // any of those that use the port
            }
        }
    }
    return target;
}

OutboundPolicy Snapshot::outbound_policy(std::string_view scope_name) const {
    for (const Scope* scope : scopes_of(*tables_, scope_name)) {
        if (scope != nullptr && scope->names->outbound_policy) {
            return *scope->names->outbound_policy;
        }
    }
    return mesh_->outbound_policy;
}

const VirtualHost* Snapshot::find_virtual_host(std::string_view scope,
                                               std::string_view authority,
                                               std::uint16_t port) const {
    auto scopes = scopes_of(*tables_, scope);
    std::string_view client_ns = namespace_of(scope);
    std::string_view host = host_part(authority);
    if (host.empty() || host.size() > host_bytes_max) {
        return nullptr;
    }
    std::array<char, host_bytes_max + 1 + namespace_bytes_max> buffer;
    std::transform(host.begin(), host.end(), buffer.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    });
    std::string_view lower(buffer.data(), host.size());
    if (lower.size() > 1 && lower.back() == '.') {
        lower.remove_suffix(1);  // a fully qualified name with its root dot
    }
    if (lower.find('.') == std::string_view::npos && client_ns.size() <= namespace_bytes_max) {
        // A bare service name means the service in the caller's own namespace.
        char* end = buffer.data() + lower.size();
        *end++ = '.';
        end = std::copy(client_ns.begin(), client_ns.end(), end);
        std::string_view qualified(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
        if (const VirtualHost* own = find_exact(*tables_, scopes, qualified, port)) {
            return own;
        }
    }
    if (const VirtualHost* exact = find_exact(*tables_, scopes, lower, port)) {
        return exact;
    }
    return find_wildcard(*tables_, scopes, lower, port);
}

const GatewayListener* Snapshot::find_gateway(const SocketAddress& listener) const {
    auto found = std::ranges::find_if(
        tables_->gateways, [&](const auto& gateway) { return gateway->address == listener; });
    return found == tables_->gateways.end() ? nullptr : found->get();
}

const WorkloadPtr& Snapshot::gateway_workload() const {
    return tables_->gateway_workload;
}

bool Snapshot::is_node_address(const IpAddress& address) const {
    return std::ranges::find(tables_->node_addresses, address) != tables_->node_addresses.end();
}

const Destination* Snapshot::find_destination(std::uint64_t key) const {
    auto found = tables_->fixed->destination_by_key.find(key);
    return found == tables_->fixed->destination_by_key.end()
               ? nullptr
               : tables_->destinations[found->second].get();
}

std::vector<WorkloadPtr> Snapshot::workloads() const {
    std::vector<WorkloadPtr> out = tables_->twins;
    out.reserve(workload_count());
    tables_->workload_by_uid.each([&](const WorkloadPtr& workload) { out.push_back(workload); });
    std::ranges::sort(out, [](const WorkloadPtr& a, const WorkloadPtr& b) {
        return std::tie(a->ns, a->name) < std::tie(b->ns, b->name);
    });
    return out;
}

std::size_t Snapshot::workload_count() const {
    return tables_->workload_by_uid.size() + tables_->twins.size();
}

const std::vector<WorkloadPtr>& Snapshot::local_workloads() const {
    return tables_->local_workloads;
}

const std::vector<ServicePtr>& Snapshot::services() const {
    return tables_->fixed->services;
}

const PositionList<DestinationPtr>& Snapshot::destinations() const {
    return tables_->destinations;
}

const PositionList<VirtualHostPtr>& Snapshot::virtual_hosts() const {
    return tables_->virtual_hosts;
}

const std::vector<GatewayListenerPtr>& Snapshot::gateways() const {
    return tables_->gateways;
}

const std::vector<TlsTermsPtr>& Snapshot::tls_terms() const {
    return tables_->fixed->tls_terms;
}

const std::vector<QuotaPtr>& Snapshot::quotas() const {
    return tables_->fixed->quotas;
}

}  // namespace orlop::model
