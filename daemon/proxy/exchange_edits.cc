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

// The configuration's operations come in order; a later one undoes what it contradicts.
void Exchange::edit_over(Kind kind, std::string_view name, std::string_view value) {
    if (kind == Kind::set || kind == Kind::remove) {
        for (h1::FieldEdit& earlier : edits_) {
            if (same_name(earlier.name, name)) {
                earlier.kind = Kind::remove;
            }
        }
    }
    edit(kind, name, value);
}

// The value to send, or nothing when its operators have nothing to say.
std::optional<std::string_view> Exchange::text_value(const model::HeaderText& text, Message side) {
    if (text.pieces.empty()) {
        return text.text;
    }
    auto source = [](const FieldList& fields) {
        return decide::HeaderSource{&fields, fields.count, [](const void* context, std::size_t i) {
                                        const auto& field =
                                            static_cast<const FieldList*>(context)->items[i];
                                        return decide::HeaderField{field.name, field.value};
                                    }};
    };
    auto flags = record_.flags.to_text();
    decide::HeaderTextInput input;
    input.request = source(request_.fields);
    input.method = request_.method;
    input.target = request_.target;
    input.authority = request_.authority;
    if (side == Message::response && tries_ != 0) {
        input.response = source(response_.fields);
        input.response_code = response_.status;
        input.code_details = "via_upstream";
    }
    input.flags = flags.view();
    input.protocol = record_.protocol;
    input.route_name = record_.route_name;
    input.cluster = record_.cluster;
    input.hostname = caller_->name;
    input.stream_id = record_.request_id;
    input.upstream_host = record_.upstream_host;
    input.downstream_remote = record_.downstream_remote;
    input.downstream_local = record_.downstream_local;
    input.start_time = record_.started_wall;
    input.bytes_received = body_.bytes();
    input.attempts = tries_;
    std::string& value = texts_.emplace_back();
    return decide::fill_header_text(text, input, value) ? std::optional<std::string_view>(value)
                                                        : std::nullopt;
}

void Exchange::edit_headers(const model::HeaderOps& ops, Message side) {
    for (const auto& name : ops.remove) {
        edit_over(Kind::remove, name, {});
    }
    for (const auto& [name, text] : ops.set) {
        bool authority = same_name(name, "host") || name.starts_with(':');
        if (auto value = authority ? std::nullopt : text_value(text, side)) {
            edit_over(Kind::set, name, *value);
        }
    }
    for (const auto& [name, text] : ops.add) {
        bool authority = same_name(name, "host") || name.starts_with(':');
        if (auto value = authority ? std::nullopt : text_value(text, side)) {
            edit(Kind::add, name, *value);
        }
    }
}

// Of several destinations Envoy applies the chosen one's operations before the route's; those of a
// sole destination Istio appends to the route's (istio-semantics §2).
template <class Visit> void Exchange::each_ops(Message side, const Visit& visit) {
    auto of = [side](const auto& rule) -> const model::HeaderOps& {
        return side == Message::request ? rule.request_headers : rule.response_headers;
    };
    bool split = route_->destinations.size() > 1;
    if (weighted_ != nullptr && split) {
        visit(of(*weighted_));
    }
    visit(of(*route_));
    if (weighted_ != nullptr && !split) {
        visit(of(*weighted_));
    }
}

namespace {

std::string_view host_in(const model::HeaderOps& ops) {
    for (const auto* list : {&ops.set, &ops.add}) {
        for (const auto& [name, text] : *list) {
            if (same_name(name, "host") || same_name(name, ":authority")) {
                return text.text;
            }
        }
    }
    return {};
}

}  // namespace

std::string_view Exchange::upstream_authority() const {
    if (weighted_ != nullptr) {
        if (auto host = host_in(weighted_->request_headers); !host.empty()) {
            return host;
        }
    }
    if (route_->rewrite && !route_->rewrite->authority.empty()) {
        return route_->rewrite->authority;
    }
    auto host = host_in(route_->request_headers);
    return host.empty() ? request_.authority : host;
}

std::string_view Exchange::rewritten_path() {
    if (!route_->rewrite) {
        return path_;
    }
    const model::Rewrite& rewrite = *route_->rewrite;
    if (rewrite.regex) {
        std::string path = rewrite.regex->replace_all(path_, rewrite.regex_substitution);
        if (path.size() > limits::rewritten_path_bytes_max) {
            note_action("regex rewrite left out: rewritten_path_bytes_max");
            return path_;
        }
        rewrite_room_.assign(path.begin(), path.end());
    } else if (!rewrite.uri.empty()) {
        rewrite_room_.assign(rewrite.uri.begin(), rewrite.uri.end());
        bool prefix = match_ != nullptr && match_->uri &&
                      match_->uri->kind == model::StringMatch::Kind::prefix;
        if (prefix) {
            std::string_view rest = path_.substr(std::min(match_->uri->text.size(), path_.size()));
            rewrite_room_.insert(rewrite_room_.end(), rest.begin(), rest.end());
        }
    } else {
        return path_;
    }
    if (rewrite_room_.empty() || rewrite_room_.front() != '/') {
        rewrite_room_.insert(rewrite_room_.begin(), '/');
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

// How long the application has, for those that can make use of it.
void Exchange::add_timeout_edit() {
    std::optional<Duration> expected = timeouts_.per_try ? timeouts_.per_try : timeouts_.route;
    if (!expected) {
        return;
    }
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(remaining(*expected));
    auto [end, error] = std::to_chars(timeout_room_.data(),
                                      timeout_room_.data() + timeout_room_.size(),
                                      std::max<std::int64_t>(left.count(), 1));
    edit(Kind::set,
         "x-envoy-expected-rq-timeout-ms",
         {timeout_room_.data(), static_cast<std::size_t>(end - timeout_room_.data())});
    if (grpc_ && !asked_grpc_timeout().empty()) {  // what is left of it, in at most 8 digits
        constexpr std::int64_t most = 99'999'999;
        bool long_time = left.count() > most;
        auto number = long_time ? left.count() / 1000 : std::max<std::int64_t>(left.count(), 1);
        std::string_view value =
            texts_.emplace_back(std::to_string(std::min(number, most)) + (long_time ? "S" : "m"));
        edit(Kind::set, "grpc-timeout", value);
    }
}

void Exchange::collect_request_edits(Copy copy) {
    edits_.clear();
    if (arriving_ != nullptr) {  // at the callee's end the caller's node has done the rest
        add_trace_edits(copy);
        return;
    }
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
    std::uint32_t attempt = copy == Copy::mirror ? 1 : tries_;
    auto [end, error] = std::to_chars(number_room_.data(), number_room_.data() + 16, attempt);
    edit(Kind::set,
         "x-envoy-attempt-count",
         {number_room_.data(), static_cast<std::size_t>(end - number_room_.data())});
    add_timeout_edit();
    add_trace_edits(copy);
    each_ops(Message::request,
             [this](const model::HeaderOps& ops) { edit_headers(ops, Message::request); });
}

Result<std::size_t> Exchange::write_upstream_head() {
    return write_request(upstream_authority(), Copy::primary);
}

Result<std::size_t> Exchange::write_request(std::string_view authority, Copy copy) {
    collect_request_edits(copy);
    h1::RequestRewrite how;
    how.path = rewritten_path();
    if (how.path.data() != path_.data()) {
        edit_over(Kind::set, "x-envoy-original-path", request_.target);
    }
    how.authority = authority;
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

void Exchange::add_extra(std::string_view name, std::string value) {
    extra_fields_.push_back({name, texts_.emplace_back(std::move(value))});
}

// What a redirect or a direct response of the route carries besides itself.
void Exchange::add_route_fields() {
    const model::HeaderOps& ops = route_->response_headers;
    for (const auto* list : {&ops.set, &ops.add}) {
        for (const auto& [name, text] : *list) {
            if (auto value = text_value(text, Message::response)) {
                extra_fields_.push_back({name, *value});
            }
        }
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
        if (!new_cookie_.empty()) {
            edit(Kind::add, "set-cookie", new_cookie_);
        }
        each_ops(Message::response,
                 [this](const model::HeaderOps& ops) { edit_headers(ops, Message::response); });
        for (const Field& field : extra_fields_) {
            edit_over(Kind::set, field.name, field.value);
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
