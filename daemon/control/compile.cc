#include "daemon/control/compile.h"

#include "daemon/control/compile/assemble.h"
#include "daemon/control/compile/external_names.h"
#include "daemon/control/compile/gateways.h"
#include "daemon/control/compile/patch.h"
#include "daemon/control/compile/quotas.h"
#include "daemon/control/compile/state.h"
#include "daemon/control/translate_legacy.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace orlop::control {
namespace {

// A VirtualService that names an undefined subset stays in its last version that did not.
std::vector<ObjectPtr> hold_virtual_services(const std::vector<ObjectPtr>& objects,
                                             const model::MeshConfig& mesh,
                                             const Services& services,
                                             RuleBook& rules,
                                             CompileMemory& memory,
                                             FindingSink& findings) {
    std::vector<ObjectPtr> out;
    std::map<ObjectKey, ObjectPtr> good;
    for (const ObjectPtr& object : objects) {
        const DestinationName* unknown = unknown_subset(*object, mesh, services, rules);
        auto last = memory.virtual_services.find(object->key);
        bool held = unknown != nullptr && last != memory.virtual_services.end();
        if (held) {
            auto where = std::make_shared<model::ObjectRef>(*object->ref);
            where->line = unknown->line;
            bool same = last->second == object;
            findings.warn("IST0101",
                          where,
                          unknown->path + ".subset",
                          fmt::format("host {} has no subset {}; the {} stays in force",
                                      unknown->host,
                                      unknown->subset,
                                      same ? "last definition of the subset"
                                           : "last good version of this object"),
                          "define the subset in a DestinationRule");
        }
        const ObjectPtr& in_force = held ? last->second : object;
        if (held || unknown == nullptr) {
            good[object->key] = in_force;
        }
        out.push_back(in_force);
    }
    memory.virtual_services = std::move(good);
    return out;
}

// The hosts that callers of special namespaces see differently, by namespace.
std::map<std::string, std::set<std::string>> special_hosts(const Services& services,
                                                           const RuleBook& rules,
                                                           const RouteBook& routes,
                                                           const StreamBook& streams) {
    std::map<std::string, std::set<std::string>> out = rules.special();
    for (const auto* special : {&routes.special(), &streams.special()}) {
        for (const auto& [ns, hosts] : *special) {
            out[ns].insert(hosts.begin(), hosts.end());
        }
    }
    for (const ServiceRecord& record : services.all) {
        for (const std::string& target : record.export_to) {
            out[target == "." ? record.service->ns : target].insert(record.service->host);
        }
    }
    return out;
}

bool concerns(const std::set<std::string>& hosts, const std::string& host) {
    return hosts.contains(host) || std::ranges::any_of(hosts, [&](const std::string& pattern) {
               return pattern.starts_with('*') && pattern_covers(pattern, host);
           });
}

// A route elsewhere may lead to a host whose rules differ: such hosts differ as well.
bool leads_to(const HostRoutesPtr& routes,
              const std::set<std::string>& hosts,
              const model::MeshConfig& mesh) {
    return routes && std::ranges::any_of(routes->routes, [&](const HostRoutes::Route& route) {
               return std::ranges::any_of(route.spec.choices, [&](const RouteChoice& choice) {
                   return concerns(hosts, full_host(choice.to.host, route.ns, mesh));
               });
           });
}

std::set<std::string> foreign_hosts(const AssembleInput& in) {
    std::set<std::string> out;
    for (const auto& hosts : {in.routes.hosts(), in.streams.hosts()}) {
        out.insert(hosts.begin(), hosts.end());
    }
    return out;
}

void assemble_scope(const AssembleInput& in,
                    const std::string& client_ns,
                    const std::set<std::string>* only,
                    TableBuild& build) {
    Assembler assembler(in, client_ns, build);
    for (const ServiceRecord& record : in.services.all) {
        const std::string& host = record.service->host;
        if (only == nullptr || concerns(*only, host) ||
            leads_to(in.routes.find(client_ns, host), *only, in.mesh)) {
            assembler.add_service(record);
        }
    }
    bool wildcards_differ = only != nullptr && std::ranges::any_of(*only, [](const auto& host) {
                                return host.starts_with('*');
                            });
    for (const std::string& host : foreign_hosts(in)) {
        bool wildcard = host.starts_with('*');
        if (only == nullptr || concerns(*only, host) || (wildcard && wildcards_differ) ||
            leads_to(in.routes.find(client_ns, host), *only, in.mesh)) {
            assembler.add_foreign_host(host);
        }
    }
}

// Everything that the workloads of the scope see; nothing is looked up elsewhere.
void assemble_sidecar(const AssembleInput& in, const SidecarScope& sidecar, TableBuild& build) {
    Assembler assembler(in, sidecar, build);
    for (const ServiceRecord& record : in.services.all) {
        assembler.add_service(record);
    }
    for (const std::string& host : foreign_hosts(in)) {
        assembler.add_foreign_host(host);
    }
}

std::vector<std::string> namespaces_of(const Workloads& workloads) {
    std::set<std::string> out;
    for (const PodWorkload& pod : workloads.all) {
        out.insert(pod.workload->ns);
    }
    return {out.begin(), out.end()};
}

// A namespace that a Sidecar stands for has no other scope.
void assemble_scopes(const AssembleInput& in,
                     const std::vector<SidecarScope>& sidecars,
                     TableBuild& build) {
    assemble_scope(in, "", nullptr, build);
    for (const auto& [ns, hosts] : special_hosts(in.services, in.rules, in.routes, in.streams)) {
        if (std::ranges::find(sidecars, ns, &SidecarScope::name) == sidecars.end()) {
            assemble_scope(in, ns, &hosts, build);
        }
    }
    for (const SidecarScope& sidecar : sidecars) {
        assemble_sidecar(in, sidecar, build);
    }
}

void index_workloads(const Workloads& workloads,
                     FindingSink& findings,
                     model::Snapshot::Tables& tables) {
    model::WorkloadsByUid::Edit by_uid(tables.workload_by_uid);
    model::AddressedWorkloads::Edit by_address(tables.workload_by_address);
    by_uid.expect(workloads.all.size());
    by_address.expect(workloads.all.size());
    for (const PodWorkload& pod : workloads.all) {
        const model::WorkloadPtr& workload = pod.workload;
        if (by_uid.find(std::string_view(workload->uid)) != nullptr) {
            tables.twins.push_back(workload);
        } else {
            by_uid.put(workload);
        }
        if (workload->local) {
            tables.local_workloads.push_back(workload);
        }
        if (workload->host_network) {
            continue;  // its address is the node's
        }
        for (const IpAddress& address : workload->addresses) {
            const auto* other = by_address.find(address);
            if (other == nullptr) {
                by_address.put({address, workload});
            } else if (other->workload != workload) {
                findings.warn("ORL013",
                              pod.pod->ref,
                              "status.podIP",
                              fmt::format("{} already belongs to pod {}/{}",
                                          address.to_string(),
                                          other->workload->ns,
                                          other->workload->name),
                              "one of the two Pod objects is out of date");
            }
        }
    }
    tables.node_addresses = workloads.node_addresses;
}

void index_services(const Services& services, model::Snapshot::Tables::Fixed& fixed) {
    for (const ServiceRecord& record : services.all) {
        auto position = static_cast<std::uint32_t>(fixed.services.size());
        fixed.services.push_back(record.service);
        for (const IpAddress& address : record.service->addresses) {
            fixed.service_by_address.emplace(address, position);
        }
    }
}

std::vector<ObjectPtr> after(std::vector<ObjectPtr> older, std::vector<ObjectPtr> newer) {
    older.insert(older.end(), newer.begin(), newer.end());
    return older;
}

}  // namespace

Compiler::Compiler() = default;
Compiler::~Compiler() = default;

CompileResult Compiler::compile(const ObjectStore& store, const CompileOptions& options) {
    bool patch = options.extent == CompileExtent::what_changed && last_ && !files_changed();
    if (patch) {
        if (auto patched = compile_patch(store, options, memory_, *last_)) {
            return *std::move(patched);
        }
    }
    return compile_everything(store, options);
}

CompileResult Compiler::compile_everything(const ObjectStore& store,
                                           const CompileOptions& options) {
    auto state = std::make_unique<CompileState>();
    FindingSink findings;
    state->revision = store.revision();
    state->node = options.node;
    if (options.dns != nullptr) {
        state->dns = *options.dns;
    }
    state->mesh = std::make_shared<const model::MeshConfig>(compile_mesh(store, findings));
    const model::MeshConfig& mesh = *state->mesh;
    state->sidecars = std::make_unique<Sidecars>(store, mesh, findings);
    WorkloadBook::Input pods{store, mesh, *state->sidecars, state->node};
    state->pods = std::make_unique<WorkloadBook>(pods, findings);
    Workloads workloads = compile_workloads(pods, *state->pods, state->told);
    TableBuild build;
    index_workloads(workloads, findings, build.tables);
    const auto& by_address = build.tables.workload_by_address;
    state->services = compile_services(store, mesh, workloads, by_address);
    Services& services = state->services;
    OutsideInput outside{store, workloads, by_address, options.dns, findings};
    state->dns_names = add_service_entries(outside, services);
    state->dns_names.merge(add_external_names(outside, mesh, services));
    Translation legacy = translate_legacy(store);
    findings.add(legacy.notes);
    RuleBook rules(
        after(std::move(legacy.destination_rules), store.in_creation_order("DestinationRule")),
        mesh,
        services,
        findings);
    auto virtual_services = hold_virtual_services(
        after(std::move(legacy.virtual_services), store.in_creation_order("VirtualService")),
        mesh,
        services,
        rules,
        memory_,
        findings);
    RouteBook routes(virtual_services, mesh, findings);
    StreamBook streams(virtual_services, mesh);
    Credentials credentials(store, memory_.files, memory_.tls_verdicts, findings);
    index_services(services, build.fixed);
    build.fixed.quotas = compile_quotas(store, mesh, findings);
    LimitBook rate_limits(store.in_creation_order("RateLimit"), mesh);
    AssembleInput input{
        mesh, services, rules, routes, streams, rate_limits, memory_, findings, credentials};
    assemble_scopes(input, state->sidecars->scopes(namespaces_of(workloads)), build);
    state->index.gateway_destinations =
        static_cast<std::uint32_t>(build.tables.destinations.size());
    compile_gateways({store, options.node, workloads.node_addresses, virtual_services, input},
                     build);
    build.fixed.tls_terms = credentials.take();
    state->findings = findings.take();
    state->subset_labels = std::move(build.subset_labels);
    index_targets(build, state->index);
    state->snapshot = std::make_shared<const model::Snapshot>(
        options.generation, state->mesh, build.take(state->waiting));
    index_for_patches(store, workloads, *state);
    last_ = std::move(state);
    CompileResult result;
    result.snapshot = last_->snapshot;
    last_->joined = join_findings(*last_);
    result.findings = last_->joined;
    result.dns_names = last_->dns_names;
    return result;
}

CompileResult compile(const ObjectStore& store, const CompileOptions& options) {
    return Compiler().compile(store, options);
}

}  // namespace orlop::control
