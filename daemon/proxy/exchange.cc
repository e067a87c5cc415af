#include "daemon/proxy/exchange.h"

#include "daemon/base/log.h"
#include "daemon/codec/uri.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/gateway.h"
#include "daemon/proxy/inbound_http.h"
#include "daemon/proxy/labels.h"
#include "daemon/proxy/outside.h"

#include <functional>

namespace orlop::proxy {

using telemetry::ResponseFlag;

// --- life ---

Exchange::Exchange(ProxyCore& core)
    : core_(core), upload_done_(core.loop()), route_timer_(&Exchange::on_route_timeout, this),
      per_try_timer_(&Exchange::on_per_try_timeout, this) {}

Exchange::~Exchange() = default;

void Exchange::reset() {
    pinned_.reset();
    caller_.reset();
    edge_ = nullptr;
    scan_ = {};
    path_ = {};
    host_ = nullptr;
    service_port_ = 0;
    route_ = nullptr;
    match_ = nullptr;
    weighted_ = nullptr;
    destination_ = nullptr;
    outside_.reset();
    service_ = nullptr;
    state_.reset();
    tried_.clear();
    hash_.reset();
    new_cookie_ = {};
    timeouts_ = {};
    tries_ = 0;
    drop_connection(net::Closing::reset);
    pool_.reset();
    try_record_ = nullptr;
    route_deadline_.reset();
    cut_ = Cut::none;
    interrupt_.reset();
    awaiting_head_ = false;
    denial_details_ = {};
    arriving_ = nullptr;
    upload_done_.clear();
    end_mirrors();
    texts_.clear();
    extra_fields_.clear();
    actions_.clear();
    trace_.reset();
    trace_continues_ = false;
    grpc_ = false;
    messages_in_ = messages_out_ = {};
    record_.reset();
}

h1::ParseResult Exchange::parse(std::string_view input) {
    h1::RequestOptions options;
    options.http10 =
        core_.pinned()->snapshot->mesh().http10 ? h1::Http10::allow : h1::Http10::refuse;
    return h1::parse_request_head(input, request_, scan_, options);
}

namespace {

// Moves a view that points into `from` to the same place in `to`.
struct Rebase {
    const char* from;
    const char* to;
    std::size_t size;
    void operator()(std::string_view& view) const {
        std::less_equal<const char*> at_most;
        if (view.data() != nullptr && at_most(from, view.data()) &&
            at_most(view.data() + view.size(), from + size)) {
            view = {to + (view.data() - from), view.size()};
        }
    }
};

}  // namespace

void Exchange::adopt(net::Stream& downstream, std::size_t head_bytes) {
    std::string_view bytes = downstream.input().substr(0, head_bytes);
    head_.assign(bytes.begin(), bytes.end());
    Rebase rebase{bytes.data(), head_.data(), bytes.size()};
    for (std::size_t i = 0; i < request_.fields.count; ++i) {
        rebase(request_.fields.items[i].name);
        rebase(request_.fields.items[i].value);
    }
    for (std::string_view* view : {&request_.method,
                                   &request_.target,
                                   &request_.path,
                                   &request_.query,
                                   &request_.scheme,
                                   &request_.authority}) {
        rebase(*view);
    }
    downstream.consume(head_bytes);
}

// --- phases ---

namespace {

struct Counted {
    explicit Counted(std::uint32_t& number) : number_(number) { ++number_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --number_; }
    std::uint32_t& number_;
};

}  // namespace

// The request counts as active at one endpoint at a time, until its response has ended.
void Exchange::count_at(std::shared_ptr<Pool> pool) {
    if (counted_ != nullptr) {
        --counted_->active;
    }
    counted_ = std::move(pool);
    if (counted_ != nullptr) {
        ++counted_->active;
    }
}

runtime::Task<Fate> Exchange::run(Conversation& conversation) {
    begin(conversation);
    std::optional<LocalAnswer> answer =
        arriving_ != nullptr ? enter(conversation) : route(conversation);
    auto keep = route_ != nullptr && route_->retries.attempts > 0 ? RequestBody::Keep::for_retry
                                                                  : RequestBody::Keep::no;
    body_.begin(request_, *conversation.stream, keep);
    if (grpc_) {
        messages_in_.feed(body_.kept());
    }
    if (!answer) {
        watch_downstream(*conversation.stream);
    }
    if (limited() || (route_ != nullptr && (route_->fault || route_->cors))) {
        answer = co_await before_router(conversation, answer);
    }
    std::optional<Counted> active;
    if (!answer && cut_ == Cut::none) {
        active.emplace(state_->budget.active);
        start_mirrors(conversation);
        answer = co_await run_tries(conversation);
    }
    Fate fate;
    if (cut_ == Cut::downstream_gone) {
        co_await stop_upload(conversation);
        drop_connection(net::Closing::reset);
        record_.flags.add(ResponseFlag::DC);
        record_.details = "downstream_remote_disconnect";
        fate = Fate::reset;
    } else if (answer) {
        fate = co_await answer_locally(conversation, *answer);
    } else {
        fate = co_await relay_response(conversation);
    }
    route_timer_.cancel();
    per_try_timer_.cancel();
    count_at(nullptr);
    end_mirrors();
    conversation.stream->watch_end(nullptr, nullptr);
    close_record(conversation);
    co_return fate;
}

void Exchange::begin(Conversation& conversation) {
    pinned_ = core_.pinned();
    caller_ = conversation.pod->workload;
    edge_ = conversation.ingress ? &*conversation.ingress : nullptr;
    arriving_ = conversation.arriving.get();
    grpc_ = grpc::is_call(request_.fields.value(Known::content_type));
    core_.metrics().add(telemetry::CoreCounter::requests);
    record_.started = core_.loop().now();
    record_.started_wall = std::chrono::system_clock::now();
    record_.generation = pinned_->snapshot->generation();
    record_.method = record_.keep(request_.method, 32);
    record_.path = record_.keep(request_.target, telemetry::RequestRecord::path_bytes_max);
    record_.protocol = conversation.version == HttpVersion::http2 ? "HTTP/2"
                       : request_.version_minor == 0              ? "HTTP/1.0"
                                                                  : "HTTP/1.1";
    record_.authority = record_.keep(request_.authority);
    record_.user_agent = record_.keep(request_.fields.value(Known::user_agent));
    record_.x_forwarded_for = record_.keep(request_.fields.value(Known::x_forwarded_for));
    record_.downstream_local = conversation.original;
    record_.downstream_remote = conversation.peer;
    record_.source_workload = caller_->workload_name;
    record_.source_namespace = caller_->ns;
    record_.request_bytes = head_.size();
    std::string_view given = request_.fields.value(Known::x_request_id);
    if (given.empty()) {
        request_id_ = telemetry::make_request_id(core_.random());
        given = request_id_.view();
    }
    record_.request_id = record_.keep(given);
    if (arriving_ != nullptr) {
        arriving_->describe(record_, *caller_);
    }
    begin_trace();
}

// From here to the end of the request: a caller that leaves ends whatever is done for it. While its
// body is still arriving, upload() notices.
void Exchange::watch_downstream(net::Stream& downstream) {
    downstream.watch_end(&Exchange::on_downstream_end, this);
    if (downstream.failure() || (body_.complete() && downstream.ended())) {
        cut(Cut::downstream_gone);
    } else if (body_.complete()) {
        downstream.read_ahead();
    }
}

// The path as it is judged, matched and sent on.
std::optional<LocalAnswer> Exchange::read_path() {
    if (request_.method_kind == h1::Method::connect) {
        return LocalAnswer{405, "CONNECT is not served here", "", "connect_refused"};
    }
    path_room_.resize(request_.path.size());
    auto path = uri::normalise_path(request_.path, path_room_);
    if (!path) {
        return LocalAnswer{400, uri::fault_text(path.error()), "DPE", "path_normalization_failed"};
    }
    path_ = *path;
    return std::nullopt;
}

decide::RequestView Exchange::request_view(std::uint16_t port) const {
    return {request_.method,
            path_,
            request_.query,
            edge_ != nullptr ? edge_->scheme : std::string_view("http"),
            request_.authority,
            {&request_.fields,
             request_.fields.count,
             [](const void* context, std::size_t i) {
                 const auto& field = static_cast<const FieldList*>(context)->items[i];
                 return decide::HeaderField{field.name, field.value};
             }},
            port,
            &caller_->labels,
            caller_->ns};
}

std::optional<LocalAnswer> Exchange::route(Conversation& conversation) {
    if (auto refusal = read_path()) {
        return refusal;
    }
    if (auto refusal = judge_at_edge(conversation)) {
        return refusal;
    }
    const model::Snapshot& snapshot = *pinned_->snapshot;
    model::OutboundTarget target;
    std::uint16_t port = conversation.original.port;
    if (conversation.ingress) {
        port = conversation.ingress->listener.port;
        host_ = gateway_host(snapshot, *conversation.ingress, request_.authority);
    } else {
        target = snapshot.resolve_outbound(caller_->scope(), conversation.original);
        port = target.port != nullptr ? target.port->port : port;
        host_ = snapshot.find_virtual_host(caller_->scope(), request_.authority, port);
    }
    service_ = target.service;
    service_port_ = port;
    if (host_ == nullptr) {
        host_ = target.virtual_host;
    }
    if (host_ == nullptr) {
        return conversation.ingress ? answer_unrouted() : reach_outside(conversation);
    }
    route_ = decide::match_route(*host_, request_view(service_port_), &match_);
    if (route_ == nullptr) {
        return answer_unrouted();
    }
    record_.route_name = route_->name.empty() ? std::string_view("default") : route_->name;
    record_.route_object =
        object_text(match_ != nullptr && match_->source ? match_->source : route_->source);
    if (route_->redirect || route_->direct_response) {
        return answer_of_route(conversation);
    }
    // A pod's own address: its services' rules, but this one endpoint.
    destination_ = target.workload != nullptr ? target.destination : nullptr;
    return choose_destination(conversation);
}

std::optional<LocalAnswer> Exchange::answer_of_route(const Conversation& conversation) {
    add_route_fields();
    if (route_->redirect) {
        return redirect(conversation);
    }
    return LocalAnswer{
        route_->direct_response->status, route_->direct_response->body, "", "direct_response"};
}

// What stands before the router, in Envoy's order: limits, faults, CORS. `routed` is what the
// router would answer by itself.
runtime::Task<std::optional<LocalAnswer>>
Exchange::before_router(const Conversation& conversation, std::optional<LocalAnswer> routed) {
    if (limited()) {
        if (auto refusal = check_limits(conversation)) {
            co_return refusal;
        }
    }
    if (!routed && route_->fault) {
        auto abort = co_await inject_fault();
        if (abort || cut_ != Cut::none) {
            co_return abort;
        }
    }
    bool reaches_router = route_ != nullptr && (!routed || record_.cluster.empty());
    if (reaches_router && route_->cors) {
        if (auto preflight = apply_cors()) {
            co_return preflight;
        }
    }
    co_return routed;
}

// Kept for explain; bounded, as rules may ask for many things.
void Exchange::note_action(std::string_view what, std::string_view of) {
    if (actions_.size() + what.size() + of.size() > telemetry::RequestRecord::path_bytes_max) {
        return;
    }
    if (!actions_.empty()) {
        actions_ += "; ";
    }
    actions_ += what;
    actions_ += of;
}

namespace {

std::uint16_t redirect_port(const model::Redirect& to, const Conversation& conversation) {
    if (to.derive_port != model::Redirect::DerivePort::request) {
        return to.port;
    }
    bool default_port = conversation.original.port == (to.scheme == "https" ? 443 : 80);
    return default_port ? std::uint16_t{0} : conversation.original.port;
}

}  // namespace

// Location of a redirect: every part that the route does not set is that of the request.
LocalAnswer Exchange::redirect(const Conversation& conversation) {
    const model::Redirect& to = *route_->redirect;
    std::string_view path = to.uri.empty() ? path_ : std::string_view(to.uri);
    std::string location(edge_ != nullptr ? edge_->scheme : "http");
    location = (to.scheme.empty() ? location : to.scheme) + "://";
    std::string_view authority = to.authority.empty() ? request_.authority : to.authority;
    if (to.port != 0 || to.derive_port != model::Redirect::DerivePort::none) {
        auto parts = uri::split_host_port(authority);
        if (parts && parts->port != 0) {
            authority = authority.substr(0, authority.rfind(':'));
        }
    }
    location += authority;
    if (std::uint16_t port = redirect_port(to, conversation); port != 0) {
        location += ":" + std::to_string(port);
    }
    if (!to.prefix_rewrite.empty() && match_ != nullptr && match_->uri &&
        match_->uri->kind == model::StringMatch::Kind::prefix) {
        location += to.prefix_rewrite;
        path.remove_prefix(std::min(match_->uri->text.size(), path.size()));
    }
    location += path;
    if (request_.has_query && to.uri.empty()) {
        location += "?";
        location += request_.query;
    }
    rewrite_room_.assign(location.begin(), location.end());
    return LocalAnswer{
        to.code, "", "", "direct_response", false, {rewrite_room_.data(), rewrite_room_.size()}};
}

std::string_view Exchange::asked_grpc_timeout() const {
    const Field* field = request_.fields.find("grpc-timeout");
    return field == nullptr ? std::string_view() : field->value;
}

std::optional<LocalAnswer> Exchange::choose_destination(Conversation& conversation) {
    std::size_t choice = decide::pick_weighted(*route_, core_.dice().next());
    if (choice != decide::no_destination) {
        weighted_ = &route_->destinations[choice];
        if (destination_ == nullptr) {
            destination_ = weighted_->destination.get();
        }
    }
    if (destination_ == nullptr) {
        return LocalAnswer{503, "", "NC", "cluster_not_found"};
    }
    service_ = destination_->service.get();
    if (is_outside(*destination_) && !conversation.ingress) {
        outside_ = outside_destination(*conversation.pod,
                                       destination_,
                                       conversation.original,
                                       workload_at_original(conversation));
        destination_ = outside_.get();
    }
    record_.cluster = destination_->cluster_name;
    if (service_ != nullptr) {
        record_.destination_service = service_->host;
    }
    record_.policy_object = object_text(destination_->policy.source);
    record_.retry_object = object_text(route_->retries.source);
    record_.timeout_object =
        object_text(route_->timeout_source ? route_->timeout_source : route_->source);
    timeouts_ =
        decide::effective_timeouts(*route_, grpc_ ? asked_grpc_timeout() : std::string_view());
    record_.route_timeout = timeouts_.route;
    record_.per_try_timeout = timeouts_.per_try;
    record_.retries_allowed = route_->retries.attempts;
    state_ = destination_state(core_, *conversation.pod, *destination_);
    choose_hash(conversation);
    return std::nullopt;
}

// Before the router, as in Envoy: not retried, not bounded by the route's timeout
// (istio-semantics §12).
runtime::Task<std::optional<LocalAnswer>> Exchange::inject_fault() {
    const model::Fault& fault = *route_->fault;
    if (fault.delay > Duration::zero() &&
        decide::chance(fault.delay_percent, core_.dice().next())) {
        record_.flags.add(ResponseFlag::DI);
        co_await net::wait_for(core_.loop(), fault.delay, interrupt_);
        if (cut_ != Cut::none) {
            co_return std::nullopt;
        }
    }
    bool aborts = fault.abort_http_status != 0 || fault.abort_grpc_status.has_value();
    if (aborts && decide::chance(fault.abort_percent, core_.dice().next())) {
        LocalAnswer answer{200, "fault filter abort", "FI", "fault_filter_abort"};
        answer.grpc_status = fault.abort_grpc_status;
        if (fault.abort_http_status != 0) {
            answer.status = fault.abort_http_status;
        }
        co_return answer;
    }
    co_return std::nullopt;
}

runtime::Task<std::optional<LocalAnswer>> Exchange::run_tries(Conversation& conversation) {
    std::optional<RetryInFlight> retrying;
    auto& series = *state_->series;
    if (body_.complete()) {
        arm_route_timer();
    }
    while (true) {
        ++tries_;
        series.add(telemetry::ClusterCounter::rq_total);
        decide::TryOutcome outcome = co_await try_once(conversation);
        if (cut_ == Cut::downstream_gone) {
            co_return LocalAnswer{};  // nobody is left to be answered
        }
        if (cut_ == Cut::bad_body) {
            co_return LocalAnswer{400, h1::reason_text(body_.reason()), "DPE", "http1.body_error"};
        }
        if (pool_ == nullptr) {
            co_return LocalAnswer{503, "no healthy upstream", "UH", "no_healthy_upstream"};
        }
        retrying
            .reset();  // a retry that has ended is in flight no more: the budget asks for others
        decide::RetryDecision next;
        if (!may_retry(outcome, next)) {
            record_.flags.add_name(next.flag);
            if (outcome.failure == decide::FailureKind::none) {
                if (tries_ > 1 && next.why == decide::GiveUp::not_retriable) {
                    series.add(telemetry::ClusterCounter::rq_retry_success);
                }
                co_return std::nullopt;
            }
            auto reply = decide::failure_reply(
                outcome.failure, tries_ > 1 ? decide::Retried::yes : decide::Retried::no);
            auto details = denial_details_.empty() ? reply.details : denial_details_;
            co_return LocalAnswer{reply.status, reply.body, reply.flag, details, reply.overloaded};
        }
        discard_response();
        retrying.emplace(*state_, destination_->policy);
        series.add(telemetry::ClusterCounter::rq_retry);
        Duration wait = remaining(next.back_off);
        if (try_record_ != nullptr) {
            try_record_->retry_reason = next.condition;
        }
        co_await net::wait_for(core_.loop(), wait, interrupt_);
        if (cut_ == Cut::downstream_gone) {
            co_return LocalAnswer{};
        }
        if (cut_ == Cut::route_timeout) {
            auto reply =
                decide::failure_reply(decide::FailureKind::route_timeout, decide::Retried::yes);
            co_return LocalAnswer{reply.status, reply.body, reply.flag, reply.details};
        }
    }
}

bool Exchange::may_retry(const decide::TryOutcome& outcome, decide::RetryDecision& decision) {
    decide::RetryContext context;
    context.tries = tries_;
    context.body = body_.replayable() && body_.state() != RequestBody::State::refused
                       ? decide::BodyReplay::possible
                       : decide::BodyReplay::abandoned;
    context.budget = state_->budget;
    context.traffic = &destination_->policy;
    context.random64 = core_.random().next();
    decision = decide::decide_retry(route_->retries, outcome, context);
    auto& series = *state_->series;
    if (decision.why == decide::GiveUp::budget) {
        series.add(telemetry::ClusterCounter::rq_retry_overflow);
    } else if (decision.why == decide::GiveUp::exhausted) {
        series.add(telemetry::ClusterCounter::rq_retry_limit_exceeded);
    } else if (decision.why == decide::GiveUp::body_abandoned) {
        series.add(telemetry::ClusterCounter::retry_or_shadow_abandoned);
    }
    return decision.verdict == decide::RetryVerdict::retry;
}

}  // namespace orlop::proxy
