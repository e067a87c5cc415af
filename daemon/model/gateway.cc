#include "daemon/model/gateway.h"

#include <algorithm>
#include <array>

namespace orlop::model {
namespace {

constexpr std::size_t host_bytes_max = 255;

// Authority without its port, and without the dot that ends a rooted name.
std::string_view host_part(std::string_view authority) {
    if (authority.starts_with('[')) {
        auto end = authority.find(']');
        return end == std::string_view::npos ? authority : authority.substr(0, end + 1);
    }
    authority = authority.substr(0, authority.find(':'));
    return authority.ends_with('.') ? authority.substr(0, authority.size() - 1) : authority;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

bool name_covers(std::string_view pattern, std::string_view name) {
    if (pattern == "*" || pattern == name) {
        return true;
    }
    return pattern.starts_with("*.") && name.size() >= pattern.size() &&
           name.ends_with(pattern.substr(1));
}

bool HostTable::add(std::string_view host, VirtualHostPtr virtual_host) {
    if (!host.starts_with('*')) {
        return exact_.emplace(host, std::move(virtual_host)).second;
    }
    std::string_view suffix = host.substr(1);
    auto longer = [&](const auto& entry) { return entry.first.size() > suffix.size(); };
    auto at = std::ranges::find_if_not(wildcards_, longer);
    for (auto same = at; same != wildcards_.end() && same->first.size() == suffix.size(); ++same) {
        if (same->first == suffix) {
            return false;
        }
    }
    wildcards_.emplace(at, suffix, std::move(virtual_host));
    return true;
}

const VirtualHost* HostTable::find(std::string_view authority) const {
    std::string_view host = host_part(authority);
    std::array<char, host_bytes_max> room;
    if (host.size() > room.size()) {
        host = {};  // no name is that long; only `*` may take it
    }
    std::ranges::transform(host, room.begin(), lower);
    std::string_view name(room.data(), host.size());
    if (auto found = exact_.find(name); found != exact_.end()) {
        return found->second.get();
    }
    for (const auto& [suffix, virtual_host] : wildcards_) {
        if (suffix.empty() || (name.size() > suffix.size() && name.ends_with(suffix))) {
            return virtual_host.get();
        }
    }
    return nullptr;
}

const GatewayByteRoute* GatewayServer::find_route(std::string_view server_name) const {
    auto found = std::ranges::find_if(routes, [&](const GatewayByteRoute& route) {
        return route.server_names.empty() ||
               std::ranges::any_of(route.server_names, [&](const std::string& pattern) {
                   return name_covers(pattern, server_name);
               });
    });
    return found == routes.end() ? nullptr : &*found;
}

const GatewayServer* GatewayListener::find_server(std::string_view server_name) const {
    if (!tls) {
        return servers.empty() ? nullptr : &servers.front();
    }
    const GatewayServer* best = nullptr;
    std::size_t best_rank = 0;  // an exact name is longer than every wildcard that covers it
    for (const GatewayServer& server : servers) {
        for (const std::string& pattern : server.server_names) {
            std::size_t rank = pattern == server_name ? host_bytes_max + 1 : pattern.size();
            if (rank > best_rank && name_covers(pattern, server_name)) {
                best = &server;
                best_rank = rank;
            }
        }
    }
    return best;
}

}  // namespace orlop::model
