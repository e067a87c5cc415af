// What the caller gets: the upstream's response relayed, or an answer made here.
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/relay.h"

namespace orlop::proxy {
namespace {

constexpr std::string_view line_end = "\r\n";

using telemetry::ResponseFlag;

// Pieces of one write, gathered so that a small response leaves in one system call.
struct Pieces {
    std::array<std::string_view, net::Stream::pieces_max> list;
    std::size_t count = 0;
    void add(std::string_view piece) {
        if (!piece.empty()) {
            list[count++] = piece;
        }
    }
    std::span<const std::string_view> all() const { return {list.data(), count}; }
};

// The upstream has closed: right for a body that lasts until then, a cut for every other.
Result<void> body_end(h1::BodyDecoder& decoder) {
    if (decoder.at_end_of_stream().state == h1::BodyState::complete) {
        return {};
    }
    return fail(ErrorKind::closed, "the upstream closed inside its body", Side::upstream);
}

std::unexpected<Error> of_caller(Error error) {
    error.side = Side::downstream;
    return std::unexpected(std::move(error));
}

// The end of a chunked body; trailers are rare, so their room is made only for them.
class LastChunk {
public:
    std::span<char> room() { return large_.empty() ? std::span<char>(small_) : large_; }
    Result<std::size_t> write(std::span<const Field> trailers) {
        if (!trailers.empty()) {
            large_.resize(limits::http_trailer_bytes_max + 64);
        }
        return h1::write_last_chunk(room(), trailers);
    }

private:
    std::array<char, 16> small_;
    std::vector<char> large_;
};

}  // namespace

runtime::Task<Fate> Exchange::relay_response(Conversation& conversation) {
    record_.status = response_.status;
    record_.details = "via_upstream";
    record_.grpc_status = decide::parse_grpc_status(response_.fields.value(Known::grpc_status));
    state_->series->count_status(response_.status);
    bool last = !request_.keep_alive || core_.draining() || uploading_ || !body_.complete();
    h1::Framing framing = response_.framing;
    if (framing == h1::Framing::chunked && request_.version_minor == 0) {
        framing = h1::Framing::until_close;
    }
    last = last || framing == h1::Framing::until_close;
    auto fate = last ? h1::ConnectionFate::close : h1::ConnectionFate::keep_alive;
    auto head = write_downstream_head(framing, fate);
    if (!head) {
        co_await stop_upload(conversation);
        drop_connection(net::Closing::reset);
        record_.transport_failure = record_.keep(head.error().context);
        co_return co_await answer_locally(conversation,
                                          {502,
                                           "the upstream's response head cannot be passed on",
                                           "UPE",
                                           "upstream_response_head_invalid"});
    }
    connection_->stream->consume(response_head_bytes_);
    record_.response_bytes = *head;
    if (response_.switches_protocol) {
        co_return co_await relay_upgrade(conversation, *head);
    }
    auto relayed = co_await relay_body(conversation, *head);
    co_await stop_upload(conversation);
    conversation.stream->watch_end(nullptr, nullptr);
    if (!relayed) {
        drop_connection(net::Closing::reset);
        bool late = cut_ == Cut::route_timeout;
        bool theirs = relayed.error().side == Side::downstream || cut_ == Cut::downstream_gone;
        record_.flags.add(late ? ResponseFlag::UT : theirs ? ResponseFlag::DC : ResponseFlag::UC);
        record_.details = theirs ? "downstream_remote_disconnect"
                          : late ? "response_timeout"
                                 : "upstream_reset_after_response_started";
        co_return Fate::reset;
    }
    ++connection_->requests;
    bool reusable = response_.keep_alive && response_.framing != h1::Framing::until_close &&
                    body_.complete() && connection_->stream->quiet() && !request_.upgrade_requested;
    if (reusable) {
        pool_->give_back(std::move(connection_));
    } else {
        drop_connection(net::Closing::orderly);
    }
    body_.finish(*conversation.stream);
    co_return last ? Fate::close : Fate::keep_alive;
}

// The head waits for the first payload, so that both leave together.
runtime::Task<Result<void>> Exchange::relay_body(Conversation& conversation,
                                                 std::size_t head_size) {
    net::Stream& upstream = *connection_->stream;
    net::Stream& downstream = *conversation.stream;
    h1::BodyDecoder decoder(response_);
    bool chunk_out = response_.framing == h1::Framing::chunked && request_.version_minor == 1;
    std::string_view head(out_.data(), head_size);
    bool done = decoder.complete();
    while (true) {
        Pieces pieces;
        pieces.add(std::exchange(head, {}));
        h1::BodyStep step;
        if (!done) {
            step = decoder.next(upstream.input());
            done = step.state == h1::BodyState::complete;
        }
        if (step.state == h1::BodyState::payload) {
            if (chunk_out) {
                std::size_t size = h1::write_chunk_header(chunk_room_, step.payload.size());
                pieces.add({chunk_room_.data(), size});
            }
            pieces.add(step.payload);
            note_payload(step.payload);
            if (chunk_out) {
                pieces.add(line_end);
            }
            done = decoder.complete();
        }
        if (done && grpc_) {
            note_grpc_status(decoder.trailers());
        }
        LastChunk last_chunk;
        if (done && chunk_out) {
            auto size = last_chunk.write(decoder.trailers());
            if (!size) {
                co_return std::unexpected(size.error());
            }
            pieces.add({last_chunk.room().data(), *size});
        }
        if (done) {
            // A caller may leave as soon as it has the last byte, and its end may be told before
            // that of this write: it is not to be taken for one that left early.
            downstream.watch_end(nullptr, nullptr);
        }
        if (pieces.count != 0) {
            auto written = co_await downstream.write(pieces.all());
            if (!written) {
                co_return of_caller(written.error());
            }
        }
        upstream.consume(step.consumed);
        if (done) {
            co_return {};
        }
        if (step.state == h1::BodyState::refused) {
            co_return fail(
                ErrorKind::invalid_input, "the upstream's body breaks its framing", Side::upstream);
        }
        if (step.state == h1::BodyState::need_more) {
            auto arrived = co_await upstream.more();
            if (!arrived) {
                co_return std::unexpected(arrived.error());
            }
            if (*arrived == 0) {
                co_return body_end(decoder);
            }
        }
    }
}

void Exchange::note_payload(std::string_view payload) {
    record_.bytes_sent += payload.size();
    record_.response_bytes += payload.size();
    if (grpc_) {
        messages_out_.feed(payload);
    }
}

// gRPC tells how a call ended behind its body, if not in the head.
void Exchange::note_grpc_status(std::span<const Field> trailers) {
    for (const Field& field : trailers) {
        if (known_name(field.name) == Known::grpc_status) {
            record_.grpc_status = decide::parse_grpc_status(field.value);
        }
    }
}

// After the switch the bytes are not ours to read; neither connection is ever reused.
runtime::Task<Fate> Exchange::relay_upgrade(Conversation& conversation, std::size_t head_size) {
    route_timer_.cancel();
    conversation.stream->watch_end(nullptr, nullptr);
    co_await stop_upload(conversation);
    body_.finish(*conversation.stream);  // went with the head: not part of the upgraded bytes
    auto told = co_await conversation.stream->write(std::string_view(out_.data(), head_size));
    if (told) {
        auto outcome = co_await relay(*conversation.stream, *connection_->stream);
        record_.bytes_received = outcome.to_second;
        record_.bytes_sent = outcome.to_first;
    }
    drop_connection(net::Closing::orderly);
    co_return Fate::close;
}

// Fields of an answer made here besides those that frame it; returns room enough for all of them.
std::size_t Exchange::collect_answer_fields(const LocalAnswer& answer) {
    if (answer.overloaded) {
        extra_fields_.push_back({"x-envoy-overloaded", "true"});
    }
    if (!answer.location.empty()) {
        extra_fields_.push_back({"location", answer.location});
    }
    if (answer.grpc_status) {
        extra_fields_.push_back({"content-type", "application/grpc"});
        add_extra("grpc-status", std::to_string(*answer.grpc_status));
        if (!answer.body.empty()) {
            add_extra("grpc-message", grpc::message_value(answer.body));
        }
    }
    std::size_t bytes = 0;
    for (const Field& field : extra_fields_) {
        bytes += field.name.size() + field.value.size() + 4;
    }
    return bytes;
}

// An answer that a gRPC caller understands (istio-semantics §16); redirects stay what they are.
LocalAnswer Exchange::as_grpc(LocalAnswer answer) {
    if (grpc_ && !answer.grpc_status && answer.location.empty()) {
        answer.grpc_status = grpc::status_of_http(answer.status);
    }
    return answer;
}

runtime::Task<Fate> Exchange::answer_locally(Conversation& conversation, const LocalAnswer& made) {
    const LocalAnswer answer = as_grpc(made);
    co_await stop_upload(conversation);
    net::Stream& downstream = *conversation.stream;
    downstream.watch_end(nullptr, nullptr);
    drop_connection(net::Closing::reset);
    record_.status = answer.grpc_status ? std::uint16_t{200} : answer.status;
    record_.grpc_status = answer.grpc_status;
    record_.flags.add_name(answer.flag);
    record_.details = answer.details;
    if (state_ != nullptr && answer.status == 504) {
        state_->series->add(telemetry::ClusterCounter::rq_timeout);
    }
    bool last = !request_.keep_alive || core_.draining() || !body_.complete();
    std::size_t extra_bytes = collect_answer_fields(answer);
    h1::LocalReply reply;
    reply.status = record_.status;
    reply.body = answer.grpc_status ? std::string_view() : answer.body;
    reply.fields = extra_fields_;
    reply.connection = last ? h1::ConnectionFate::close : h1::ConnectionFate::keep_alive;
    reply.request_method = request_.method_kind;
    out_.resize(std::max(out_.size(), answer.body.size() + extra_bytes + 1024));
    auto size = h1::write_local_reply(out_, reply);
    if (!size) {
        co_return Fate::reset;
    }
    record_.bytes_sent = reply.body.size();
    record_.response_bytes = *size;
    auto written = co_await downstream.write(std::string_view(out_.data(), *size));
    if (!written) {
        record_.flags.add(ResponseFlag::DC);
        co_return Fate::reset;
    }
    body_.finish(downstream);
    co_return last ? Fate::close : Fate::keep_alive;
}

runtime::Task<void> Exchange::refuse(Conversation& conversation, const h1::ParseResult& why) {
    pinned_ = core_.pinned();
    caller_ = conversation.pod->workload;
    core_.metrics().add(telemetry::CoreCounter::protocol_errors);
    record_.started = core_.loop().now();
    record_.started_wall = std::chrono::system_clock::now();
    record_.downstream_local = conversation.original;
    record_.downstream_remote = conversation.peer;
    record_.status = why.status();
    record_.flags.add(ResponseFlag::DPE);
    record_.details = "http1.codec_error";
    record_.termination_details = why.text();
    h1::LocalReply reply;
    reply.status = why.status();
    reply.body = why.text();
    reply.connection = h1::ConnectionFate::close;
    out_.resize(std::max<std::size_t>(out_.size(), 1024));
    if (auto size = h1::write_local_reply(out_, reply)) {
        auto told = co_await conversation.stream->write(std::string_view(out_.data(), *size));
        (void)told;  // the connection ends either way
    }
    finish_record(core_, *pinned_, record_);
}

}  // namespace orlop::proxy
