#include "daemon/proxy/mirror.h"

#include "daemon/codec/h1/body.h"
#include "daemon/codec/h1/writer.h"
#include "daemon/codec/uri.h"
#include "daemon/proxy/destination_state.h"
#include "daemon/proxy/finish.h"

#include <array>

namespace orlop::proxy {
namespace {

using telemetry::ClusterCounter;

// A mirror without a route timeout still ends: nobody would miss it.
constexpr Duration mirror_time_most = std::chrono::minutes(5);

struct Registered {
    Registered(LiveMirrors& mirrors, MirrorJob* job) : list(mirrors), one(job) { list.add(one); }
    Registered(const Registered&) = delete;
    Registered& operator=(const Registered&) = delete;
    ~Registered() { list.remove(one); }
    LiveMirrors& list;
    MirrorJob* one;
};

struct Active {
    explicit Active(Pool& pool) : of(pool) { ++of.active; }
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;
    ~Active() { --of.active; }
    Pool& of;
};

}  // namespace

std::string shadow_host(std::string_view authority) {
    auto parts = uri::split_host_port(authority);
    if (!parts || parts->ipv6_literal) {
        return std::string(authority);
    }
    std::string host(parts->host);
    host += "-shadow";
    host += authority.substr(parts->host.size());
    return host;
}

void MirrorJob::feed(std::string_view payload) {
    if (abandoned_ || cut_) {
        return;
    }
    if (pending_.size() + payload.size() > limits::mirror_body_bytes_max) {
        if (state_ != nullptr) {
            state_->series->add(ClusterCounter::retry_or_shadow_abandoned);
        }
        abandon();
        return;
    }
    pending_ += payload;
    changed_.set();
}

void MirrorJob::finish() {
    complete_ = true;
    changed_.set();
}

void MirrorJob::abandon() {
    if (!complete_) {
        abandoned_ = true;
        pending_.clear();
        changed_.set();
    }
}

void MirrorJob::cut() {
    cut_ = true;
    interrupt_.fire();
    changed_.set();
    if (stream_ != nullptr) {
        stream_->abort(
            Error{ErrorKind::cancelled, "the mirrored request was given up", Side::internal, 0});
    }
}

void MirrorJob::fail(std::string_view flag, std::string_view details) {
    record.flags.add_name(flag);
    record.details = details;
}

runtime::Task<bool> MirrorJob::send_body(UpstreamConnection& connection) {
    net::Stream& stream = *connection.stream;
    bool chunked = framing == h1::Framing::chunked;
    while (true) {
        if (abandoned_ || cut_) {
            co_return false;
        }
        if (pending_.empty()) {
            if (complete_) {
                break;
            }
            co_await changed_;
            continue;
        }
        std::string payload = std::exchange(pending_, {});
        std::array<char, h1::chunk_header_bytes_max> room;
        std::array<std::string_view, 3> pieces = {payload};
        std::size_t count = 1;
        if (chunked) {
            std::size_t size = h1::write_chunk_header(room, payload.size());
            pieces = {std::string_view(room.data(), size), payload, h1::chunk_crlf};
            count = 3;
        }
        auto sent = co_await stream.write(std::span(pieces).first(count));
        record.request_bytes += payload.size();
        if (!sent) {
            co_return false;
        }
    }
    if (chunked) {  // trailers stay with the primary
        auto sent = co_await stream.write(std::string_view("0\r\n\r\n"));
        co_return sent.has_value();
    }
    co_return true;
}

// Reads one response to its end and drops it. False when it did not come whole.
runtime::Task<bool> MirrorJob::discard_response(UpstreamConnection& connection) {
    net::Stream& stream = *connection.stream;
    h1::ResponseHead response;
    h1::HeadScan scan;
    h1::BodyDecoder body;
    bool in_body = false;
    while (true) {
        if (!in_body && !stream.input().empty()) {
            auto parsed = h1::parse_response_head(stream.input(), {method, false}, response, scan);
            if (parsed.state == h1::ParseState::refused) {
                co_return false;
            }
            if (parsed.state == h1::ParseState::complete) {
                scan = {};
                in_body = !response.interim;
                record.status = response.status;
                body = h1::BodyDecoder(response);
                stream.consume(parsed.consumed);
            }
        }
        bool stuck = !in_body;
        while (in_body && !body.complete() && !stuck) {
            h1::BodyStep step = body.next(stream.input());
            record.bytes_sent += step.payload.size();
            stream.consume(step.consumed);
            stuck = step.consumed == 0;
            if (step.state == h1::BodyState::refused) {
                co_return false;
            }
        }
        if (in_body && body.complete()) {
            reusable_ = response.keep_alive && response.framing != h1::Framing::until_close;
            co_return true;
        }
        auto arrived = co_await stream.more();
        if (!arrived) {
            co_return false;
        }
        if (*arrived == 0) {
            co_return in_body&& body.at_end_of_stream().state == h1::BodyState::complete;
        }
    }
}

runtime::Task<void> MirrorJob::exchange_once(ProxyCore& core) {
    state_ = destination_state(core, *pod, *destination);
    state_->series->add(ClusterCounter::rq_total);
    auto pick = state_->pick(*destination, {});
    if (pick.index == decide::no_endpoint) {
        fail("UH", "no_healthy_upstream");
        co_return;
    }
    auto pool = state_->pool_of(*destination, pick.index);
    const model::Endpoint endpoint = pool->endpoint();
    record.upstream_host = endpoint.address;
    const model::MeshConfig& mesh = pinned->snapshot->mesh();
    auto choice = decide::wire_for(caller.get(), endpoint, &destination->policy, mesh);
    record.path_taken = path_of(choice.wire, destination);
    WireRequest request{&core,
                        pod,
                        endpoint,
                        choice.wire,
                        mesh.transparent_source,
                        peer,
                        destination->policy.pool.connect_timeout,
                        &interrupt_,
                        destination,
                        pinned};
    request.version = decide::upstream_version(*destination, version, decide::Upgrade::none);
    Active active(*pool);
    auto acquired = co_await acquire(pool, request);
    if (!acquired.connection) {
        if (acquired.error) {
            record.transport_failure = record.keep(acquired.error->context);
            fail(cut_ ? "UT" : "UF", "mirror_connect_failure");
        } else {
            fail("UO", "mirror_overflow");
        }
        co_return;
    }
    std::unique_ptr<UpstreamConnection> connection = std::move(acquired.connection);
    stream_ = connection->stream.get();
    bool whole = false;
    if (!cut_) {
        auto sent = co_await stream_->write(std::string_view(head));
        whole = sent && co_await send_body(*connection) && co_await discard_response(*connection);
    }
    stream_ = nullptr;
    record.details = "mirror";
    if (!whole) {
        fail(cut_ ? "UT" : abandoned_ ? "DC" : "UC", "mirror_ended_early");
    }
    if (record.status != 0) {
        state_->series->count_status(record.status);
    }
    if (whole && reusable_ && connection->stream->quiet()) {
        ++connection->requests;
        pool->give_back(std::move(connection));
    } else {
        core.dispose(std::move(connection->stream), net::Closing::reset);
    }
}

runtime::Task<void> run_mirror(ProxyCore* core, MirrorJobPtr job) {
    Registered registered(core->mirrors(), job.get());
    auto& loop = core->loop();
    Duration bound = std::min(job->timeout.value_or(mirror_time_most), mirror_time_most);
    loop.timers().set(job->deadline_, loop.now() + bound);
    co_await job->exchange_once(*core);
    job->deadline_.cancel();
    job->record.duration = loop.now() - job->record.started;
    log_record(*core, *job->pinned, job->record);
    job->state_.reset();
}

}  // namespace orlop::proxy
