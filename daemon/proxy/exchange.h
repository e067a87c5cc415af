// Exchange: one HTTP/1.1 request with all its tries and its one response.
//
// run() reads top-down as the life of a request (DESIGN §6): begin, route, faults, tries, relay,
// close. Decisions come from decide/; this class moves bytes and keeps time. It is taken from the
// core's ExchangePool when a request's first byte arrives and given back when its response has
// been sent, so its buffers are reused. One core.
//
// The request's head is copied out of the downstream's input, because the body and pipelined
// requests go on arriving there while tries are repeated.
#pragma once

#include "daemon/codec/grpc.h"
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h1/writer.h"
#include "daemon/decide/header_text.h"
#include "daemon/decide/limit_key.h"
#include "daemon/decide/match_route.h"
#include "daemon/decide/retry.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/destination_state.h"
#include "daemon/proxy/mirror.h"
#include "daemon/proxy/request_body.h"

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::proxy {

enum class Fate : unsigned char { keep_alive, close, reset };

// An answer made here.
struct LocalAnswer {
    std::uint16_t status = 503;
    std::string_view body;
    std::string_view flag;
    std::string_view details;
    bool overloaded = false;
    std::string_view location = {};  // redirects
    // Then the answer is gRPC's: 200 with this status, and the body as its message.
    std::optional<std::uint32_t> grpc_status = {};
};

class Exchange {
public:
    explicit Exchange(ProxyCore& core);
    ~Exchange();

    // Looks at the bytes so far; on `complete` call adopt() before run().
    h1::ParseResult parse(std::string_view input);
    void adopt(net::Stream& downstream, std::size_t head_bytes);
    runtime::Task<Fate> run(Conversation& conversation);
    // Answers a head that was refused, and logs it.
    runtime::Task<void> refuse(Conversation& conversation, const h1::ParseResult& why);
    void reset();

private:
    enum class Cut : unsigned char {
        none,
        route_timeout,
        per_try_timeout,
        downstream_gone,
        bad_body
    };

    // exchange.cc: the phases
    void begin(Conversation& conversation);
    std::optional<LocalAnswer> route(Conversation& conversation);
    std::optional<LocalAnswer> enter(const Conversation& conversation);  // exchange_inbound.cc
    std::optional<LocalAnswer> judge_at_edge(const Conversation& conversation);
    std::optional<LocalAnswer> read_path();
    decide::RequestView request_view(std::uint16_t port) const;
    LocalAnswer redirect(const Conversation& conversation);
    std::optional<LocalAnswer> answer_of_route(const Conversation& conversation);
    runtime::Task<std::optional<LocalAnswer>> before_router(const Conversation& conversation,
                                                            std::optional<LocalAnswer> routed);
    void note_action(std::string_view what, std::string_view of = {});
    model::WorkloadPtr workload_at_original(const Conversation& conversation) const;
    std::optional<LocalAnswer> reach_outside(Conversation& conversation);
    std::string_view asked_grpc_timeout() const;
    LocalAnswer answer_unrouted();
    std::optional<LocalAnswer> choose_destination(Conversation& conversation);
    runtime::Task<std::optional<LocalAnswer>> inject_fault();
    runtime::Task<std::optional<LocalAnswer>> run_tries(Conversation& conversation);
    void count_at(std::shared_ptr<Pool> pool);
    bool may_retry(const decide::TryOutcome& outcome, decide::RetryDecision& decision);
    void close_record(const Conversation& conversation);  // exchange_record.cc
    void count_request();

    // exchange_try.cc: one try
    runtime::Task<decide::TryOutcome> try_once(Conversation& conversation);
    runtime::Task<decide::WireChoice> settle_wire();
    bool note_denial(const Error& error, const model::Endpoint& endpoint);
    HttpVersion version_upstream(const Conversation& conversation) const;
    decide::Pick pick_endpoint(Conversation& conversation);
    void
    note_try(const model::Endpoint& endpoint, const decide::Pick& pick, telemetry::PathTaken path);
    runtime::Task<decide::TryOutcome> use_pool(Conversation& conversation, WireRequest& request);
    decide::TryOutcome not_acquired(const Acquired& acquired, decide::Wire wire);
    runtime::Task<decide::TryOutcome> exchange_bytes(Conversation& conversation);
    runtime::Task<Result<void>> send_request(Conversation& conversation);
    runtime::Task<decide::TryOutcome> await_head(Conversation& conversation);
    runtime::Task<Result<void>> forward_interim(Conversation& conversation, std::size_t head_bytes);
    static runtime::Task<void> upload(Exchange* self, Conversation* conversation);
    runtime::Task<Result<void>> send_payload(std::string_view payload);
    runtime::Task<Result<void>> send_last_chunk();
    runtime::Task<void> stop_upload(Conversation& conversation);
    decide::TryOutcome outcome_of_error(const Error& error) const;
    bool stale_connection(const decide::TryOutcome& outcome) const;
    void drop_connection(net::Closing closing);
    void discard_response();
    void arm_route_timer();
    void watch_downstream(net::Stream& downstream);
    void cut(Cut why);
    static void on_route_timeout(void* self);
    static void on_per_try_timeout(void* self);
    static void on_downstream_end(void* self);
    Duration remaining(Duration bound);

    // exchange_hash.cc: the consistentHash key
    void choose_hash(const Conversation& conversation);
    void make_cookie(const model::ConsistentHash& hash, const Conversation& conversation);

    // exchange_response.cc: what the caller gets
    runtime::Task<Fate> relay_response(Conversation& conversation);
    runtime::Task<Result<void>> relay_body(Conversation& conversation, std::size_t head_size);
    runtime::Task<Fate> relay_upgrade(Conversation& conversation, std::size_t head_size);
    runtime::Task<Fate> answer_locally(Conversation& conversation, const LocalAnswer& answer);
    LocalAnswer as_grpc(LocalAnswer answer);
    void note_payload(std::string_view payload);
    void note_grpc_status(std::span<const Field> trailers);
    std::size_t collect_answer_fields(const LocalAnswer& answer);

    // exchange_edits.cc: heads as they are sent on
    Result<std::size_t> write_upstream_head();
    Result<std::size_t> write_downstream_head(h1::Framing framing, h1::ConnectionFate fate);
    void edit(h1::FieldEdit::Kind kind, std::string_view name, std::string_view value);
    enum class Message : unsigned char { request, response };
    enum class Copy : unsigned char { primary, mirror };
    Result<std::size_t> write_request(std::string_view authority, Copy copy);
    void collect_request_edits(Copy copy);
    void add_timeout_edit();
    void edit_headers(const model::HeaderOps& ops, Message side);
    void edit_over(h1::FieldEdit::Kind kind, std::string_view name, std::string_view value);
    std::optional<std::string_view> text_value(const model::HeaderText& text, Message side);
    template <class Visit> void each_ops(Message side, const Visit& visit);
    void edit_at_edge();
    std::string_view rewritten_path();
    std::string_view upstream_authority() const;
    void add_route_fields();
    void add_extra(std::string_view name, std::string value);

    // exchange_trace.cc
    void begin_trace();
    void add_trace_edits(Copy copy);
    void finish_trace();

    // exchange_limits.cc, exchange_cors.cc, exchange_mirror.cc
    bool limited() const;
    std::optional<LocalAnswer> check_limits(const Conversation& conversation);
    std::optional<LocalAnswer> check_rate(const model::RateLimit& limit,
                                          const decide::LimitSubject& subject);
    std::optional<LocalAnswer> check_quota(const model::Quota& quota,
                                           const decide::LimitSubject& subject);
    std::optional<LocalAnswer> apply_cors();
    void start_mirrors(Conversation& conversation);
    void start_mirror(Conversation& conversation, const model::Mirror& mirror);
    void feed_mirrors(std::string_view payload);
    void end_mirrors();

    ProxyCore& core_;
    PinnedPtr pinned_;
    model::WorkloadPtr caller_;
    const Ingress* edge_ = nullptr;  // the caller comes from outside the mesh
    h1::HeadScan scan_;
    h1::RequestHead request_;
    h1::ResponseHead response_;
    std::size_t response_head_bytes_ = 0;  // of the upstream's input, until the head is written
    std::vector<char> head_;               // the request's head as received
    std::vector<char> path_room_;          // its normalised path
    std::string_view path_;
    std::vector<char> rewrite_room_;
    std::string forwarded_room_;
    std::vector<char> out_;  // a head being sent
    std::vector<h1::FieldEdit> edits_;
    std::array<char, 40> number_room_;
    std::array<char, 24> timeout_room_;
    // Empty unless the route fills in values, limits, mirrors or answers cross-origin requests.
    std::deque<std::string> texts_;
    std::vector<Field> extra_fields_;  // added to the answer, whoever gives it
    std::vector<MirrorJobPtr> mirrors_;
    std::string actions_;  // for explain
    std::optional<telemetry::TraceContext> trace_;
    bool trace_continues_ = false;  // the caller's, not one that starts here
    std::array<char, h1::chunk_header_bytes_max> chunk_room_;
    std::array<char, h1::chunk_header_bytes_max> upload_chunk_room_;
    RequestBody body_;
    bool grpc_ = false;                // the request is a gRPC call
    grpc::GrpcMessages messages_in_;   // of the caller
    grpc::GrpcMessages messages_out_;  // to the caller

    const model::VirtualHost* host_ = nullptr;
    std::uint16_t service_port_ = 0;
    const model::HttpRoute* route_ = nullptr;
    const model::HttpMatch* match_ = nullptr;
    const model::WeightedDestination* weighted_ = nullptr;
    const model::Destination* destination_ = nullptr;
    model::DestinationPtr outside_;  // keeps `destination_` when no snapshot does
    const model::Service* service_ = nullptr;
    std::shared_ptr<DestinationState> state_;
    decide::TriedEndpoints tried_;
    std::optional<std::uint64_t> hash_;
    std::string_view new_cookie_;  // Set-Cookie of a session that begins here; in cookie_room_
    std::vector<char> cookie_room_;
    decide::Timeouts timeouts_;
    std::uint32_t tries_ = 0;
    bool retrying_ = false;

    std::unique_ptr<UpstreamConnection> connection_;
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<Pool> counted_;
    telemetry::TryRecord* try_record_ = nullptr;
    bool uploading_ = false;
    runtime::Event upload_done_;
    runtime::Timer route_timer_;
    runtime::Timer per_try_timer_;
    std::optional<Instant> route_deadline_;
    Cut cut_ = Cut::none;
    net::Interrupt interrupt_;  // of whatever is waited for without a connection
    bool awaiting_head_ = false;
    InboundHttp* arriving_ = nullptr;  // at the callee's end
    std::string_view denial_details_;  // set once policy has refused the connection of a try
    telemetry::RequestId request_id_;
    telemetry::RequestRecord record_;
};

}  // namespace orlop::proxy
