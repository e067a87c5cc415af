// One try of an exchange: an endpoint, a connection, the request out, the response's head in.
#include "daemon/decide/authorize.h"
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/gateway.h"

namespace orlop::proxy {

constexpr std::string_view line_end = "\r\n";

using decide::FailureKind;
using decide::TryOutcome;
using telemetry::ClusterCounter;

// --- timers and cuts ---

void Exchange::arm_route_timer() {
    if (timeouts_.route) {
        route_deadline_ = core_.loop().now() + *timeouts_.route;
        core_.loop().timers().set(route_timer_, *route_deadline_);
    }
}

// Whatever runs now ends with an error; `why` tells what to make of it.
void Exchange::cut(Cut why) {
    if (cut_ == Cut::none) {
        cut_ = why;
    }
    interrupt_.fire();
    if (connection_ != nullptr) {
        bool late = why == Cut::route_timeout || why == Cut::per_try_timeout;
        connection_->stream->abort(Error{late ? ErrorKind::timed_out : ErrorKind::cancelled,
                                         late ? "request timeout" : "the request was given up",
                                         Side::internal,
                                         0});
    }
}

void Exchange::on_route_timeout(void* self) {
    static_cast<Exchange*>(self)->cut(Cut::route_timeout);
}

void Exchange::on_per_try_timeout(void* self) {
    static_cast<Exchange*>(self)->cut(Cut::per_try_timeout);
}

void Exchange::on_downstream_end(void* self) {
    static_cast<Exchange*>(self)->cut(Cut::downstream_gone);
}

// `bound`, or what the route's timeout leaves of it.
Duration Exchange::remaining(Duration bound) {
    if (!route_deadline_) {
        return bound;
    }
    auto left = std::max(*route_deadline_ - core_.loop().now(), Duration(1));
    return bound <= Duration::zero() ? left : std::min(bound, left);
}

TryOutcome Exchange::outcome_of_error(const Error& error) const {
    TryOutcome outcome;
    switch (cut_) {
    case Cut::route_timeout:
        outcome.failure = FailureKind::route_timeout;
        return outcome;
    case Cut::per_try_timeout:
        outcome.failure = FailureKind::per_try_timeout;
        return outcome;
    default:
        break;
    }
    switch (error.kind) {
    case ErrorKind::reset:
        outcome.failure = FailureKind::reset;
        break;
    case ErrorKind::refused:
        outcome.failure = FailureKind::refused_stream;
        break;
    case ErrorKind::closed:
        outcome.failure = FailureKind::terminated;
        break;
    case ErrorKind::invalid_input:
    case ErrorKind::limit_exceeded:
        outcome.failure = FailureKind::protocol_error;
        break;
    default:
        outcome.failure = FailureKind::local_reset;
        break;
    }
    return outcome;
}

// --- connections ---

void Exchange::drop_connection(net::Closing closing) {
    if (connection_ != nullptr) {
        core_.dispose(std::move(connection_->stream), closing);
        connection_.reset();
    }
}

// A response that a retry replaces: its connection is kept when it has been read whole.
void Exchange::discard_response() {
    if (connection_ == nullptr) {
        return;
    }
    net::Stream& stream = *connection_->stream;
    stream.consume(response_head_bytes_);
    h1::BodyDecoder decoder(response_);
    bool whole = decoder.complete();
    while (!whole && !stream.input().empty()) {
        h1::BodyStep step = decoder.next(stream.input());
        stream.consume(step.consumed);
        whole = decoder.complete();
        if (!whole && step.state != h1::BodyState::payload) {
            break;
        }
    }
    if (whole && response_.keep_alive && !uploading_ && stream.quiet()) {
        ++connection_->requests;
        pool_->give_back(std::move(connection_));
    } else {
        drop_connection(net::Closing::reset);
    }
}

// A warm connection may have been closed by the peer just before our bytes reached it. A request
// that may be repeated without harm then goes to a fresh one and nobody notices. HTTP/2 says by
// itself what is safe to repeat.
bool Exchange::stale_connection(const TryOutcome& outcome) const {
    bool idempotent =
        request_.method_kind == h1::Method::get || request_.method_kind == h1::Method::head ||
        request_.method_kind == h1::Method::options || request_.method_kind == h1::Method::put ||
        request_.method_kind == h1::Method::del || request_.method_kind == h1::Method::trace;
    bool broken = outcome.failure == FailureKind::reset ||
                  outcome.failure == FailureKind::terminated ||
                  outcome.failure == FailureKind::reset_before_request;
    return broken && idempotent && body_.replayable() && connection_ != nullptr &&
           connection_->shared == nullptr && connection_->requests > 0 &&
           connection_->stream->input().empty() && cut_ == Cut::none;
}

namespace {

std::string_view failure_word(const TryOutcome& outcome) {
    return decide::failure_name(outcome.failure);
}

std::string_view limit_text(decide::Admission admission) {
    return admission == decide::Admission::too_many_requests
               ? "http2MaxRequests is reached by this caller"
               : "http1MaxPendingRequests is reached by this caller";
}

}  // namespace

// A STRICT callee that is being enrolled cannot be reached for the moment its node needs: waiting
// that long beats refusing the request.
runtime::Task<decide::WireChoice> Exchange::settle_wire() {
    if (arriving_ != nullptr) {
        co_return decide::WireChoice{decide::Wire::delivery, decide::WireReason::captured};
    }
    constexpr Duration step = std::chrono::milliseconds(10);
    Instant until =
        core_.loop().now() + remaining(std::chrono::milliseconds(limits::capture_wait_ms));
    while (true) {
        auto choice = decide::wire_for(
            caller_.get(), pool_->endpoint(), &destination_->policy, pinned_->snapshot->mesh());
        bool hopeful = choice.reason == decide::WireReason::strict_not_redirected;
        if (!hopeful || cut_ != Cut::none || core_.loop().now() >= until) {
            if (choice.wire == decide::Wire::refused) {
                record_.transport_failure = decide::wire_reason_name(choice.reason);
            }
            if (choice.reason == decide::WireReason::not_authorized) {
                denial_details_ = record_.keep(choice.details);
            }
            co_return choice;
        }
        co_await net::wait_for(core_.loop(), step, interrupt_);
    }
}

void Exchange::note_try(const model::Endpoint& endpoint,
                        const decide::Pick& pick,
                        telemetry::PathTaken path) {
    try_record_ = record_.open_try();
    try_record_->endpoint = endpoint.address;
    try_record_->endpoint_name =
        endpoint.workload ? record_.keep(endpoint.workload->name) : std::string_view();
    try_record_->why = pick.why;
    try_record_->skipped_unusable = pick.unusable;
    try_record_->skipped_tried = pick.re_picks;
    try_record_->path = record_.path_taken = path;
    try_record_->timer = timeouts_.per_try.value_or(Duration::zero());
    if (pick.unusable != 0) {
        auto who = ejected_text(*destination_, core_.loop().now());
        try_record_->note = record_.keep(
            (pick.panic ? "too few in rotation (minHealthPercent), all are used; ejected: "
                        : "ejected: ") +
            who);
    } else if (!pick.group.empty()) {
        try_record_->note = pick.group;
    }
    if (endpoint.address.port == 0) {
        try_record_->outcome = "no endpoint";
        return;
    }
    record_.upstream_host = endpoint.address;
    if (endpoint.workload) {
        record_.destination_workload = record_.keep(endpoint.workload->workload_name);
        record_.destination_namespace = record_.keep(endpoint.workload->ns);
    }
}

// Whether policy is what keeps us from the endpoint: this proxy's view of it, or that of the
// callee's node, which does not say which policy it was. This node's snapshot usually knows.
bool Exchange::note_denial(const Error& error, const model::Endpoint& endpoint) {
    bool by_peer = error.kind == ErrorKind::denied && error.side == Side::upstream;
    if (by_peer && endpoint.workload != nullptr) {
        auto verdict = decide::authorize_connection(*caller_, *endpoint.workload, endpoint.address);
        denial_details_ =
            verdict.allowed ? decide::unknown_denial_details : record_.keep(verdict.details);
    }
    return !denial_details_.empty();
}

// Retries avoid the endpoints of earlier tries, and their localities where the policy says so.
decide::Pick Exchange::pick_endpoint(Conversation& conversation) {
    const model::RetryPolicy& retries = route_->retries;
    const bool again = tries_ > 1;
    // Envoy looks at the tried localities afresh every second try (update frequency 2).
    const bool elsewhere = retries.remote_localities && tries_ > 2;
    PickWish wish{again && retries.ignore_previous_hosts ? &tried_ : nullptr,
                  elsewhere ? &tried_ : nullptr,
                  hash_,
                  &conversation.original};
    return state_->pick(*destination_, wish);
}

// To the app of an arriving request it is what the caller speaks.
HttpVersion Exchange::version_upstream(const Conversation& conversation) const {
    auto upgrade = request_.upgrade_requested ? decide::Upgrade::asked : decide::Upgrade::none;
    return arriving_ != nullptr && upgrade == decide::Upgrade::none
               ? conversation.version
               : decide::upstream_version(*destination_, conversation.version, upgrade);
}

runtime::Task<TryOutcome> Exchange::try_once(Conversation& conversation) {
    if (cut_ == Cut::per_try_timeout) {
        cut_ = Cut::none;
        interrupt_.reset();
    }
    pool_.reset();
    auto pick = pick_endpoint(conversation);
    const bool passthrough =
        destination_->policy.load_balancing == model::LoadBalancing::passthrough;
    if (pick.index == decide::no_endpoint && !passthrough) {
        note_try({}, pick, telemetry::PathTaken::none);
        co_return TryOutcome{FailureKind::connect_failure, 0, std::nullopt, false, false};
    }
    pool_ = pick.index == decide::no_endpoint ? state_->pool_to(conversation.original)
                                              : state_->pool_of(*destination_, pick.index);
    const model::Endpoint endpoint = pool_->endpoint();  // a copy: a newer snapshot replaces it
    tried_.add(endpoint.address);
    const model::MeshConfig& mesh = pinned_->snapshot->mesh();
    decide::WireChoice wire = co_await settle_wire();
    note_try(endpoint, pick, path_of(wire.wire, destination_));
    Instant begun = core_.loop().now();
    WireRequest request{&core_,
                        conversation.pod,
                        endpoint,
                        wire.wire,
                        mesh.transparent_source,
                        shown_caller(conversation),
                        Duration::zero(),
                        &interrupt_,
                        destination_,
                        pinned_};
    request.version = version_upstream(conversation);
    count_at(pool_);
    TryOutcome outcome = co_await use_pool(conversation, request);
    if (outcome.failure != FailureKind::none) {
        drop_connection(net::Closing::reset);
    }
    if (cut_ != Cut::downstream_gone && cut_ != Cut::bad_body) {
        state_->observe(*destination_, pick.index, outcome);
    }
    try_record_->duration = core_.loop().now() - begun;
    try_record_->status = outcome.status;
    try_record_->outcome =
        outcome.failure == FailureKind::none ? "response" : failure_word(outcome);
    co_return outcome;
}

// A connection of the pool, and the exchange over it.
runtime::Task<TryOutcome> Exchange::use_pool(Conversation& conversation, WireRequest& request) {
    while (true) {
        auto acquired = co_await acquire(pool_, request);
        if (!acquired.connection) {
            co_return not_acquired(acquired, request.wire);
        }
        connection_ = std::move(acquired.connection);
        TryOutcome outcome =
            cut_ == Cut::none
                ? co_await exchange_bytes(conversation)
                : outcome_of_error(Error{ErrorKind::cancelled, "", Side::internal, 0});
        if (!stale_connection(outcome)) {
            co_return outcome;
        }
        drop_connection(net::Closing::reset);
        pool_->close_idle();
    }
}

TryOutcome Exchange::not_acquired(const Acquired& acquired, decide::Wire wire) {
    TryOutcome outcome;
    if (!acquired.error) {
        outcome.failure = FailureKind::overflow;
        try_record_->note = limit_text(acquired.admission);
        return outcome;
    }
    if (wire != decide::Wire::refused && acquired.error->kind != ErrorKind::cancelled) {
        record_.transport_failure = record_.keep(acquired.error->context);
    }
    if (note_denial(*acquired.error, pool_->endpoint())) {
        outcome.failure = FailureKind::denied;
        return outcome;
    }
    bool route_over =
        cut_ == Cut::route_timeout || (route_deadline_ && core_.loop().now() >= *route_deadline_);
    outcome.failure = route_over                                     ? FailureKind::route_timeout
                      : acquired.error->kind == ErrorKind::timed_out ? FailureKind::connect_timeout
                                                                     : FailureKind::connect_failure;
    return outcome;
}

// --- bytes of one try ---

runtime::Task<TryOutcome> Exchange::exchange_bytes(Conversation& conversation) {
    connection_->stream->limit_input(limits::http_head_bytes_max + 4 * limits::relay_buffer_bytes);
    if (auto sent = co_await send_request(conversation); !sent) {
        co_return outcome_of_error(sent.error());
    }
    if (body_.complete()) {
        if (timeouts_.per_try) {
            core_.loop().timers().set(per_try_timer_, core_.loop().now() + *timeouts_.per_try);
        }
    } else {
        uploading_ = true;
        core_.scope().spawn(&Exchange::upload, this, &conversation);
    }
    awaiting_head_ = true;
    TryOutcome outcome = co_await await_head(conversation);
    awaiting_head_ = false;
    per_try_timer_.cancel();
    if (outcome.failure != FailureKind::none) {
        co_await stop_upload(conversation);
    }
    co_return outcome;
}

runtime::Task<Result<void>> Exchange::send_request(Conversation& conversation) {
    auto head = write_upstream_head();
    if (!head) {
        co_return std::unexpected(head.error());
    }
    std::array<std::string_view, 5> pieces;
    std::size_t count = 0;
    pieces[count++] = std::string_view(out_.data(), *head);
    std::string_view kept = body_.kept();
    bool chunked = body_.framing() == h1::Framing::chunked;
    if (!kept.empty()) {
        if (chunked) {
            std::size_t size = h1::write_chunk_header(upload_chunk_room_, kept.size());
            pieces[count++] = std::string_view(upload_chunk_room_.data(), size);
        }
        pieces[count++] = kept;
        if (chunked) {
            pieces[count++] = line_end;
        }
    }
    auto sent = co_await connection_->stream->write(std::span(pieces).first(count));
    if (sent && chunked && body_.complete()) {
        sent = co_await send_last_chunk();
    }
    co_return sent;
}

runtime::Task<Result<void>> Exchange::send_payload(std::string_view payload) {
    if (body_.framing() != h1::Framing::chunked) {
        co_return co_await connection_->stream->write(payload);
    }
    std::size_t size = h1::write_chunk_header(upload_chunk_room_, payload.size());
    std::array<std::string_view, 3> pieces = {
        std::string_view(upload_chunk_room_.data(), size), payload, line_end};
    co_return co_await connection_->stream->write(pieces);
}

runtime::Task<Result<void>> Exchange::send_last_chunk() {
    std::vector<char> room(limits::http_trailer_bytes_max + 64);
    auto size = h1::write_last_chunk(room, body_.trailers());
    if (!size) {
        co_return std::unexpected(size.error());
    }
    co_return co_await connection_->stream->write(std::string_view(room.data(), *size));
}

// Relays the rest of the body while the response is awaited. Ends on success, on any error of
// either side, or when stop_upload() interrupts its reading.
runtime::Task<void> Exchange::upload(Exchange* self, Conversation* conversation) {
    net::Stream& downstream = *conversation->stream;
    bool going = true;
    while (going) {
        std::string_view payload = self->body_.next_payload(downstream);
        if (!payload.empty()) {
            self->feed_mirrors(payload);
            if (self->grpc_) {
                self->messages_in_.feed(payload);
            }
            auto sent = co_await self->send_payload(payload);
            self->body_.drop_payload(downstream);
            going = sent.has_value();
            continue;
        }
        if (self->body_.complete()) {
            break;
        }
        if (self->body_.state() == RequestBody::State::refused) {
            self->cut(Cut::bad_body);
            break;
        }
        auto arrived = co_await downstream.more();
        if (!arrived && arrived.error().kind == ErrorKind::cancelled && !downstream.failure()) {
            break;  // interrupted by stop_upload()
        }
        if (!arrived || *arrived == 0) {
            self->cut(Cut::downstream_gone);
            break;
        }
    }
    if (self->body_.complete()) {
        self->end_mirrors();
    }
    if (going && self->body_.complete()) {
        if (self->body_.framing() == h1::Framing::chunked) {
            auto ended = co_await self->send_last_chunk();
            (void)ended;  // a broken upstream shows where the response is awaited
        }
        self->arm_route_timer();
        if (self->timeouts_.per_try && self->awaiting_head_) {
            self->core_.loop().timers().set(self->per_try_timer_,
                                            self->core_.loop().now() + *self->timeouts_.per_try);
        }
        self->watch_downstream(downstream);
    }
    self->uploading_ = false;
    self->upload_done_.set();
}

runtime::Task<void> Exchange::stop_upload(Conversation& conversation) {
    if (!uploading_) {
        co_return;
    }
    if (connection_ != nullptr) {
        connection_->stream->abort(
            Error{ErrorKind::cancelled, "the upload was stopped", Side::internal, 0});
    }
    conversation.stream->interrupt_reader();
    while (uploading_) {
        upload_done_.clear();
        co_await upload_done_;
    }
}

runtime::Task<TryOutcome> Exchange::await_head(Conversation& conversation) {
    net::Stream& upstream = *connection_->stream;
    h1::HeadScan scan;
    h1::ResponseContext context{request_.method_kind, request_.upgrade_requested};
    while (true) {
        if (!upstream.input().empty()) {
            auto parsed = h1::parse_response_head(upstream.input(), context, response_, scan);
            if (parsed.state == h1::ParseState::refused) {
                record_.transport_failure = parsed.text();
                co_return TryOutcome{FailureKind::protocol_error, 0, std::nullopt, false, false};
            }
            if (parsed.state == h1::ParseState::complete) {
                if (!response_.interim) {
                    response_head_bytes_ = parsed.consumed;
                    break;
                }
                if (auto told = co_await forward_interim(conversation, parsed.consumed); !told) {
                    cut(Cut::downstream_gone);
                    co_return outcome_of_error(told.error());
                }
                scan = {};
                continue;
            }
        }
        auto arrived = co_await upstream.more();
        if (!arrived) {
            co_return outcome_of_error(arrived.error());
        }
        if (*arrived == 0) {
            TryOutcome outcome;
            outcome.failure =
                upstream.input().empty() ? FailureKind::terminated : FailureKind::protocol_error;
            co_return outcome;
        }
    }
    TryOutcome outcome;
    outcome.status = response_.status;
    outcome.grpc_status = decide::parse_grpc_status(response_.fields.value(Known::grpc_status));
    outcome.rate_limited = response_.fields.find("x-envoy-ratelimited") != nullptr;
    co_return outcome;
}

// 1xx heads pass through; 100 only to a client that asked for it.
runtime::Task<Result<void>> Exchange::forward_interim(Conversation& conversation,
                                                      std::size_t head_bytes) {
    bool wanted = response_.status != 100 || request_.expect_continue;
    Result<void> result;
    if (wanted && request_.version_minor == 1) {
        auto size = write_downstream_head(h1::Framing::none, h1::ConnectionFate::keep_alive);
        if (size) {
            result = co_await conversation.stream->write(std::string_view(out_.data(), *size));
        }
    }
    connection_->stream->consume(head_bytes);
    co_return result;
}

}  // namespace orlop::proxy
