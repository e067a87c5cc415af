// Heads as they are sent on: what is rewritten, added and stripped (istio-semantics §2, §4;
// reliability: client-supplied identity headers).
#include "daemon/proxy/exchange.h"

#include <charconv>

namespace orlop::proxy {
namespace {

using Kind = h1::FieldEdit::Kind;

constexpr std::size_t head_room_first = 4 * 1024;
constexpr std::size_t head_room_most = limits::http_head_bytes_max + 16 * 1024;

// Commands to the proxy that only the proxy's own configuration may give.
constexpr std::string_view commands_of_strangers[] = {
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
};

bool starts_with_envoy(std::string_view name) {
    return name.size() > 8 && same_name(name.substr(0, 8), "x-envoy-");
}

}  // namespace

void Exchange::edit(Kind kind, std::string_view name, std::string_view value) {
    edits_.push_back({kind, name, value});
}

void Exchange::edit_headers(const model::HeaderOps& ops) {
    for (const auto& name : ops.remove) {
        edit(Kind::remove, name, {});
    }
    for (const auto& [name, value] : ops.set) {
        if (!same_name(name, "host") && !name.starts_with(':')) {
            edit(Kind::set, name, value.text);
        }
    }
    for (const auto& [name, value] : ops.add) {
        edit(Kind::add, name, value.text);
    }
}

std::string_view Exchange::rewritten_path() {
    if (!route_->rewrite || route_->rewrite->uri.empty()) {
        return path_;
    }
    const std::string& uri = route_->rewrite->uri;
    rewrite_room_.assign(uri.begin(), uri.end());
    bool prefix =
        match_ != nullptr && match_->uri && match_->uri->kind == model::StringMatch::Kind::prefix;
    if (prefix) {
        std::string_view rest = path_.substr(std::min(match_->uri->text.size(), path_.size()));
        rewrite_room_.insert(rewrite_room_.end(), rest.begin(), rest.end());
    }
    return {rewrite_room_.data(), rewrite_room_.size()};
}

// A gateway is where the mesh begins: it says itself who called and how, and appends to what
// proxies before it have said. Inside the mesh the applications' own word is kept.
void Exchange::edit_at_edge() {
    if (edge_ == nullptr) {
        edit(Kind::set_if_absent, "x-forwarded-proto", "http");
        return;
    }
    forwarded_room_.clear();
    for (const Field& field : request_.fields) {
        if (same_name(field.name, "x-forwarded-for")) {
            forwarded_room_ += field.value;
            forwarded_room_ += ',';
        }
    }
    forwarded_room_ += record_.downstream_remote->ip.to_string();
    edit(Kind::set, "x-forwarded-for", forwarded_room_);
    edit(Kind::set, "x-forwarded-proto", edge_->scheme);
    edit(Kind::remove, "x-envoy-external-address", {});
}

void Exchange::edit_request() {
    bool from_envoy = request_.fields.find(Known::x_forwarded_client_cert) != nullptr;
    for (const Field& field : request_.fields) {
        from_envoy = from_envoy || starts_with_envoy(field.name);
    }
    if (from_envoy) {
        for (std::string_view name : commands_of_strangers) {
            edit(Kind::remove, name, {});
        }
    }
    edit(Kind::set, "x-request-id", record_.request_id);
    edit_at_edge();
    auto [end, error] = std::to_chars(number_room_.data(), number_room_.data() + 16, tries_);
    edit(Kind::set,
         "x-envoy-attempt-count",
         {number_room_.data(), static_cast<std::size_t>(end - number_room_.data())});
    edit_headers(route_->request_headers);
    if (weighted_ != nullptr) {
        edit_headers(weighted_->request_headers);
    }
}

Result<std::size_t> Exchange::write_upstream_head() {
    edits_.clear();
    if (arriving_ == nullptr) {  // at the callee's end the caller's node has done this
        edit_request();
    }
    h1::RequestRewrite how;
    how.path = rewritten_path();
    if (route_->rewrite && !route_->rewrite->authority.empty()) {
        how.authority = route_->rewrite->authority;
    }
    how.framing = body_.framing();
    how.content_length = body_.length();
    how.upgrading = request_.upgrade_requested ? h1::Upgrading::yes : h1::Upgrading::no;
    how.edits = edits_;
    out_.resize(std::max(out_.size(), head_room_first));
    while (true) {
        auto written = h1::write_request_head(out_, request_, how);
        if (written || out_.size() >= head_room_most ||
            written.error().kind != ErrorKind::limit_exceeded) {
            return written;
        }
        out_.resize(std::min(head_room_most, 2 * out_.size()));
    }
}

Result<std::size_t> Exchange::write_downstream_head(h1::Framing framing, h1::ConnectionFate fate) {
    edits_.clear();
    if (!response_.interim && !response_.switches_protocol && arriving_ == nullptr) {
        auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(core_.loop().now() -
                                                                            record_.started);
        record_.upstream_service_time = waited;
        auto [end, error] =
            std::to_chars(number_room_.data(), number_room_.data() + 20, waited.count());
        if (edge_ != nullptr) {
            edit(Kind::set, "server", "istio-envoy");
        }
        edit(Kind::set,
             "x-envoy-upstream-service-time",
             {number_room_.data(), static_cast<std::size_t>(end - number_room_.data())});
        edit_headers(route_->response_headers);
        if (weighted_ != nullptr) {
            edit_headers(weighted_->response_headers);
        }
    }
    h1::ResponseRewrite how;
    how.framing = framing;
    how.content_length = response_.content_length;
    how.connection = fate;
    how.upgrading = response_.switches_protocol ? h1::Upgrading::yes : h1::Upgrading::no;
    how.peer_version_minor = request_.version_minor;
    how.edits = edits_;
    out_.resize(std::max(out_.size(), head_room_first));
    while (true) {
        auto written = h1::write_response_head(out_, response_, how);
        if (written || out_.size() >= head_room_most ||
            written.error().kind != ErrorKind::limit_exceeded) {
            return written;
        }
        out_.resize(std::min(head_room_most, 2 * out_.size()));
    }
}

}  // namespace orlop::proxy
