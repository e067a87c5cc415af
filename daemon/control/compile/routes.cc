#include "daemon/control/compile/routes.h"

#include "daemon/control/compile/gateways.h"
#include "daemon/control/compile/rules.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

namespace orlop::control {
namespace {

using model::HttpMatch;
using model::StringMatch;

void append_key(std::string& key, std::string_view name, const StringMatch& match) {
    key += fmt::format("{}\x1f{}\x1f{}\x1f{}\x1e",
                       name,
                       static_cast<int>(match.kind),
                       match.text,
                       match.ignore_case ? 1 : 0);
}

bool is_everything(const HttpMatch& match) {
    bool any_uri = !match.uri || match.uri->kind == StringMatch::Kind::present ||
                   (match.uri->kind == StringMatch::Kind::prefix && match.uri->text == "/") ||
                   (match.uri->kind == StringMatch::Kind::regex && match.uri->text == ".*");
    return any_uri && !match.scheme && !match.method && !match.authority && match.headers.empty() &&
           match.without_headers.empty() && match.query_params.empty() && match.port == 0 &&
           match.source_labels.empty() && match.source_namespace.empty();
}

std::string key_of(const HttpMatch& match) {
    std::string key;
    if (is_everything(match)) {
        return key;
    }
    for (const auto& [name, part] : {std::pair("u", &match.uri),
                                     std::pair("s", &match.scheme),
                                     std::pair("m", &match.method),
                                     std::pair("a", &match.authority)}) {
        if (*part) {
            append_key(key, name, **part);
        }
    }
    for (const auto& [name, list] : {std::pair("h", &match.headers),
                                     std::pair("w", &match.without_headers),
                                     std::pair("q", &match.query_params)}) {
        for (const auto& [header, part] : *list) {
            append_key(key, name + header, part);
        }
    }
    key += fmt::format("p{}\x1en{}\x1e", match.port, match.source_namespace);
    for (const auto& [label, value] : match.source_labels) {
        key += fmt::format("l{}\x1f{}\x1e", label, value);
    }
    return key;
}

// Greater is more specific: exact uri, then longer prefix or regex, then the number of conditions.
using Specificity = std::tuple<int, std::size_t, std::size_t>;

Specificity specificity_of(const HttpMatch& match) {
    if (is_everything(match)) {
        return {0, 0, 0};
    }
    int uri_rank = 1;
    std::size_t uri_length = 0;
    if (match.uri && match.uri->kind != StringMatch::Kind::present) {
        uri_rank = match.uri->kind == StringMatch::Kind::exact ? 3 : 2;
        uri_length = match.uri->text.size();
    }
    std::size_t conditions = match.headers.size() + match.without_headers.size() +
                             match.query_params.size() + match.source_labels.size() +
                             (match.scheme ? 1 : 0) + (match.method ? 1 : 0) +
                             (match.authority ? 1 : 0) + (match.port != 0 ? 1 : 0) +
                             (match.source_namespace.empty() ? 0 : 1);
    return {uri_rank, uri_length, conditions};
}

// A route is as specific as its broadest alternative.
Specificity specificity_of(const HttpRouteSpec& route) {
    if (route.matches.empty()) {
        return {0, 0, 0};
    }
    Specificity least = specificity_of(route.matches.front().match);
    for (const MatchSpec& match : route.matches) {
        least = std::min(least, specificity_of(match.match));
    }
    return least;
}

template <class T> void take_over(std::optional<T>& mine, std::optional<T>& newer) {
    if (newer) {
        mine = std::move(newer);
    }
}

void overlay_route(HostRoutes::Route& base, HttpRouteSpec newer, const std::string& ns) {
    HttpRouteSpec& spec = base.spec;
    bool acts = !newer.choices.empty() || newer.redirect || newer.direct_response;
    if (acts) {
        spec.choices = std::move(newer.choices);
        spec.redirect = std::move(newer.redirect);
        spec.direct_response = std::move(newer.direct_response);
        base.ns = ns;
    }
    if (newer.timeout) {
        spec.timeout = newer.timeout;
        spec.timeout_source = newer.timeout_source;
    }
    take_over(spec.retries, newer.retries);
    take_over(spec.fault, newer.fault);
    take_over(spec.rewrite, newer.rewrite);
    take_over(spec.cors, newer.cors);
    take_over(spec.mirrors, newer.mirrors);
    if (!newer.request_headers.empty()) {
        spec.request_headers = std::move(newer.request_headers);
    }
    if (!newer.response_headers.empty()) {
        spec.response_headers = std::move(newer.response_headers);
    }
    if (!newer.name.empty()) {
        spec.name = std::move(newer.name);
    }
    spec.source = newer.source;
}

// The delegate's uri must lie within the root's; nothing when it does not.
bool narrow_uri(const std::optional<StringMatch>& root, std::optional<StringMatch>& inner) {
    using Kind = StringMatch::Kind;
    if (!root || root->kind == Kind::present) {
        return true;
    }
    if (!inner || inner->kind == Kind::present) {
        inner = root;
        return true;
    }
    if (root->kind == inner->kind && root->text == inner->text) {
        return true;
    }
    return root->kind == Kind::prefix && inner->kind != Kind::regex &&
           inner->text.starts_with(root->text);
}

bool narrow_part(const std::optional<StringMatch>& root, std::optional<StringMatch>& inner) {
    if (!root) {
        return true;
    }
    bool same = inner && inner->kind == root->kind && inner->text == root->text;
    if (!inner) {
        inner = root;
    }
    return same || inner->text == root->text;
}

using NamedMatches = std::vector<std::pair<std::string, StringMatch>>;
bool narrow_named(const NamedMatches& root, NamedMatches& inner) {
    for (const auto& [name, match] : root) {
        auto found = std::ranges::find(inner, name, &NamedMatches::value_type::first);
        if (found == inner.end()) {
            inner.emplace_back(name, match);
        } else if (found->second.kind != match.kind || found->second.text != match.text) {
            return false;
        }
    }
    std::ranges::sort(inner, {}, &NamedMatches::value_type::first);
    return true;
}

bool narrow(const HttpMatch& root, HttpMatch& inner) {
    bool fits = narrow_uri(root.uri, inner.uri) && narrow_part(root.scheme, inner.scheme) &&
                narrow_part(root.method, inner.method) &&
                narrow_part(root.authority, inner.authority) &&
                narrow_named(root.headers, inner.headers) &&
                narrow_named(root.without_headers, inner.without_headers) &&
                narrow_named(root.query_params, inner.query_params);
    if (inner.port == 0) {
        inner.port = root.port;
    }
    if (inner.source_namespace.empty()) {
        inner.source_namespace = root.source_namespace;
    }
    inner.source_labels.insert(root.source_labels.begin(), root.source_labels.end());
    return fits && (root.port == 0 || inner.port == root.port) &&
           (root.source_namespace.empty() || inner.source_namespace == root.source_namespace);
}

}  // namespace

std::string match_key(const HttpRouteSpec& route) {
    std::vector<std::string> keys;
    for (const MatchSpec& match : route.matches) {
        std::string key = key_of(match.match);
        if (key.empty()) {
            return {};  // one alternative takes everything
        }
        keys.push_back(std::move(key));
    }
    std::ranges::sort(keys);
    std::string joined;
    for (const std::string& key : keys) {
        joined += key + '\x1d';
    }
    return joined;
}

void overlay_routes(std::vector<HostRoutes::Route>& base,
                    std::vector<HttpRouteSpec> newer,
                    const std::string& ns) {
    std::map<std::string, std::size_t> known;  // match -> index of the first route with it
    for (std::size_t i = 0; i < base.size(); ++i) {
        known.emplace(match_key(base[i].spec), i);
    }
    std::vector<HttpRouteSpec> added;
    std::set<std::string> taken;
    for (HttpRouteSpec& route : newer) {
        std::string key = match_key(route);
        auto same = known.find(key);
        if (same != known.end() && taken.insert(key).second) {
            overlay_route(base[same->second], std::move(route), ns);
        } else if (same == known.end()) {
            added.push_back(std::move(route));
        }
    }
    std::size_t floor = 0;  // routes of one object keep their order
    for (HttpRouteSpec& route : added) {
        Specificity own = specificity_of(route);
        std::size_t at = floor;
        while (at < base.size() && specificity_of(base[at].spec) >= own) {
            ++at;
        }
        base.insert(base.begin() + static_cast<std::ptrdiff_t>(at), {std::move(route), ns});
        floor = at + 1;
    }
}

RouteBook::RouteBook(const std::vector<ObjectPtr>& objects,
                     const model::MeshConfig& mesh,
                     FindingSink& findings,
                     Audience audience)
    : mesh_(mesh), audience_(std::move(audience)) {
    for (const ObjectPtr& object : objects) {
        if (std::get<VirtualServiceSpec>(object->spec).hosts.empty()) {
            delegates_[object->key] = object;
        }
    }
    for (const ObjectPtr& object : objects) {
        const auto& spec = std::get<VirtualServiceSpec>(object->spec);
        auto part = std::make_unique<Part>(Part{object, our_routes(*object, findings)});
        if (part->routes.empty()) {
            continue;
        }
        for (const std::string& written : spec.hosts) {
            std::string host = full_host(written, object->key.ns, mesh);
            by_host_[host].push_back(part.get());
            for (const std::string& target : spec.export_to) {
                special_[target == "." ? object->key.ns : target].insert(host);
            }
        }
        parts_.push_back(std::move(part));
    }
    for (const auto& [host, parts] : by_host_) {
        if (host.starts_with('*')) {
            wildcards_.push_back(host);
        }
        report_conflicts(host, parts, findings);
    }
    std::ranges::sort(wildcards_, [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
}

void RouteBook::report_conflicts(const std::string& host,
                                 const std::vector<const Part*>& parts,
                                 FindingSink& findings) const {
    bool overlay = mesh_.conflict_resolution == model::ConflictResolution::overlay;
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const Object& object = *parts[i]->object;
        findings.warn(
            "IST0109",
            object.ref,
            "spec.hosts",
            fmt::format("host {} is already in {}", host, parts[i - 1]->object->ref->to_string()),
            overlay ? "its fields override the same fields of the older object"
                    : "the oldest object has the host; this one has no effect");
    }
}

bool RouteBook::concerns_us(const std::vector<std::string>& gateways, const std::string& ns) const {
    if (gateways.empty()) {
        return audience_.contains("mesh");
    }
    return std::ranges::any_of(gateways, [&](const std::string& written) {
        return audience_.contains(gateway_key(written, ns));
    });
}

std::vector<HttpRouteSpec> RouteBook::our_routes(const Object& object,
                                                 FindingSink& findings) const {
    const auto& spec = std::get<VirtualServiceSpec>(object.spec);
    bool ours = concerns_us(spec.gateways, object.key.ns);
    std::vector<HttpRouteSpec> out;
    for (const HttpRouteSpec& written : spec.http) {
        HttpRouteSpec route = written;
        std::erase_if(route.matches, [&](const MatchSpec& match) {
            return match.gateways.empty() ? !ours : !concerns_us(match.gateways, object.key.ns);
        });
        bool concerned = written.matches.empty() ? ours : !route.matches.empty();
        if (!concerned) {
            continue;
        }
        if (route.delegate_name.empty()) {
            out.push_back(std::move(route));
        } else {
            splice_delegate(route, findings, out);
        }
    }
    return out;
}

void RouteBook::splice_delegate(const HttpRouteSpec& root,
                                FindingSink& findings,
                                std::vector<HttpRouteSpec>& out) const {
    auto found = delegates_.find({"VirtualService", root.delegate_ns, root.delegate_name});
    if (found == delegates_.end()) {
        findings.warn("IST0101",
                      root.source,
                      "delegate",
                      fmt::format("VirtualService {}/{} does not exist or names hosts",
                                  root.delegate_ns,
                                  root.delegate_name),
                      "a delegate has no hosts and no gateways");
        return;
    }
    const Object& delegate = *found->second;
    for (const HttpRouteSpec& inner : std::get<VirtualServiceSpec>(delegate.spec).http) {
        HttpRouteSpec joined = inner;
        joined.matches.clear();
        bool fits = false;
        if (root.matches.empty() || inner.matches.empty()) {
            joined.matches = root.matches.empty() ? inner.matches : root.matches;
            fits = true;
        }
        for (const MatchSpec& outer_match : root.matches) {
            for (MatchSpec match : inner.matches) {
                if (narrow(outer_match.match, match.match)) {
                    joined.matches.push_back(std::move(match));
                    fits = true;
                }
            }
        }
        if (!fits) {
            findings.warn("IST0101",
                          inner.source,
                          "match",
                          "no match lies within that of " + root.source->to_string(),
                          "the route is dropped; narrow its match");
            continue;
        }
        for (RouteChoice& choice : joined.choices) {  // short names mean the delegate's namespace
            choice.to.host = full_host(choice.to.host, delegate.key.ns, mesh_);
        }
        out.push_back(std::move(joined));
    }
}

HostRoutesPtr RouteBook::join(const std::vector<const Part*>& parts, const std::string& client_ns) {
    std::vector<const Part*> visible;
    std::ranges::copy_if(parts, std::back_inserter(visible), [&](const Part* part) {
        return is_visible(std::get<VirtualServiceSpec>(part->object->spec).export_to,
                          part->object->key.ns,
                          client_ns);
    });
    if (visible.empty()) {
        return nullptr;
    }
    bool oldest = mesh_.conflict_resolution == model::ConflictResolution::oldest;
    if (oldest && !audience_.contains("mesh")) {
        return append(visible);
    }
    auto out = std::make_shared<HostRoutes>();
    if (oldest) {
        // Private to the client's namespace, then exported to it, then public (§1.6).
        auto rank = [&](const Part* part) {
            const auto& targets = std::get<VirtualServiceSpec>(part->object->spec).export_to;
            return targets.empty() ? 2 : part->object->key.ns == client_ns ? 0 : 1;
        };
        auto first = std::ranges::min_element(visible, {}, rank);
        for (const HttpRouteSpec& route : (*first)->routes) {
            out->routes.push_back({route, (*first)->object->key.ns});
        }
        out->source = (*first)->object->ref;
        return out;
    }
    for (const Part* part : visible) {
        if (out->routes.empty()) {
            for (const HttpRouteSpec& route : part->routes) {
                out->routes.push_back({route, part->object->key.ns});
            }
        } else {
            overlay_routes(out->routes, part->routes, part->object->key.ns);
        }
        out->source = part->object->ref;
    }
    return out;
}

// Istio's way at an ingress gateway (§1.6): all routes in order of creation, those that take
// everything last, of which the first is the only one that ever acts.
HostRoutesPtr RouteBook::append(const std::vector<const Part*>& parts) const {
    auto out = std::make_shared<HostRoutes>();
    std::vector<HostRoutes::Route> last;
    for (const Part* part : parts) {
        for (const HttpRouteSpec& route : part->routes) {
            auto& list = match_key(route).empty() ? last : out->routes;
            list.push_back({route, part->object->key.ns});
        }
        out->source = part->object->ref;
    }
    out->routes.insert(out->routes.end(), last.begin(), last.end());
    return out;
}

HostRoutesPtr RouteBook::find(const std::string& client_ns, const std::string& host) {
    std::string key = client_ns + '\n' + host;
    if (auto cached = cache_.find(key); cached != cache_.end()) {
        return cached->second;
    }
    HostRoutesPtr found;
    if (auto exact = by_host_.find(host); exact != by_host_.end()) {
        found = join(exact->second, client_ns);
    }
    for (const std::string& pattern : wildcards_) {
        if (found) {
            break;
        }
        if (pattern_covers(pattern, host)) {
            found = join(by_host_.at(pattern), client_ns);
        }
    }
    return cache_.emplace(std::move(key), std::move(found)).first->second;
}

std::vector<std::string> RouteBook::hosts() const {
    std::vector<std::string> out;
    for (const auto& [host, parts] : by_host_) {
        out.push_back(host);
    }
    return out;
}

}  // namespace orlop::control
