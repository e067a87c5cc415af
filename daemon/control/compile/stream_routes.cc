#include "daemon/control/compile/stream_routes.h"

#include "daemon/control/compile/rules.h"

#include <algorithm>

namespace orlop::control {
namespace {

bool lists_mesh(const std::vector<std::string>& gateways) {
    return std::ranges::find(gateways, "mesh") != gateways.end();
}

bool for_mesh(const VirtualServiceSpec& spec, const L4RouteSpec& route) {
    if (!route.gateways.empty()) {
        return lists_mesh(route.gateways);
    }
    return spec.gateways.empty() || lists_mesh(spec.gateways);
}

void collect(const Object& object,
             const std::vector<L4RouteSpec>& from,
             std::vector<HostStreams::Route>& out) {
    const auto& spec = std::get<VirtualServiceSpec>(object.spec);
    for (const L4RouteSpec& route : from) {
        if (for_mesh(spec, route)) {
            out.push_back({&route, object.key.ns});
        }
    }
}

}  // namespace

model::StreamMatch stream_match(const L4RouteSpec& spec) {
    model::StreamMatch out;
    out.server_names = spec.sni_hosts;
    out.destinations = spec.destination_ranges;
    out.port = spec.ports.empty() ? 0 : spec.ports.front();
    out.source_labels = spec.source_labels;
    out.source_namespace = spec.source_namespace;
    return out;
}

StreamBook::StreamBook(const std::vector<ObjectPtr>& objects, const model::MeshConfig& mesh)
    : mesh_(mesh) {
    for (const ObjectPtr& object : objects) {
        const auto& spec = std::get<VirtualServiceSpec>(object->spec);
        auto meshed = [&](const L4RouteSpec& route) { return for_mesh(spec, route); };
        if (std::ranges::none_of(spec.tls, meshed) && std::ranges::none_of(spec.tcp, meshed)) {
            continue;
        }
        for (const std::string& written : spec.hosts) {
            std::string host = full_host(written, object->key.ns, mesh);
            for (const std::string& target : spec.export_to) {
                special_[target == "." ? object->key.ns : target].insert(host);
            }
            by_host_[std::move(host)].push_back(object.get());
        }
    }
}

HostStreams StreamBook::join(const std::vector<const Object*>& objects,
                             const std::string& client_ns) const {
    std::vector<const Object*> visible;
    std::ranges::copy_if(objects, std::back_inserter(visible), [&](const Object* object) {
        return is_visible(
            std::get<VirtualServiceSpec>(object->spec).export_to, object->key.ns, client_ns);
    });
    if (mesh_.conflict_resolution == model::ConflictResolution::overlay) {
        std::ranges::reverse(visible);
    } else if (visible.size() > 1) {
        visible.resize(1);
    }
    HostStreams out;
    for (const Object* object : visible) {
        const auto& spec = std::get<VirtualServiceSpec>(object->spec);
        collect(*object, spec.tls, out.tls);
        collect(*object, spec.tcp, out.tcp);
    }
    return out;
}

HostStreams StreamBook::find(const std::string& client_ns, const std::string& host) const {
    if (auto exact = by_host_.find(host); exact != by_host_.end()) {
        if (HostStreams found = join(exact->second, client_ns); !found.empty()) {
            return found;
        }
    }
    HostStreams best;
    std::size_t longest = 0;
    for (const auto& [pattern, objects] : by_host_) {
        bool covers = pattern.starts_with('*') && pattern_covers(pattern, host);
        if (covers && pattern.size() > longest) {
            if (HostStreams found = join(objects, client_ns); !found.empty()) {
                best = std::move(found);
                longest = pattern.size();
            }
        }
    }
    return best;
}

std::vector<std::string> StreamBook::hosts() const {
    std::vector<std::string> out;
    for (const auto& [host, objects] : by_host_) {
        out.push_back(host);
    }
    return out;
}

}  // namespace orlop::control
