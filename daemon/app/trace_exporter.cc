#include "daemon/app/trace_exporter.h"

#include "daemon/base/log.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <iterator>

namespace orlop::app {
namespace {

constexpr Duration flush_interval = std::chrono::milliseconds(limits::trace_flush_ms);
constexpr Duration export_time_most = std::chrono::milliseconds(limits::trace_export_ms_max);

struct Deadline {
    net::Stream* stream;
    static void on_deadline(void* self) {
        static_cast<Deadline*>(self)->stream->abort(
            Error{ErrorKind::timed_out, "the collector does not answer", Side::upstream, 0});
    }
};

}  // namespace

Result<int> HostSockets::open_socket(const net::Network&, const net::SocketWish& wish) {
    int family = wish.destination.is_v4() ? AF_INET : AF_INET6;
    int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail(ErrorKind::system, std::strerror(errno));
    }
    return fd;
}

runtime::Task<void> TraceExporter::run(TraceExporter* self) {
    while (!self->stopping_ && !self->done_) {
        co_await net::wait_for(self->loop_, flush_interval, self->wake_);
        if (!self->stopping_) {
            co_await self->export_all();
        }
    }
    if (!self->done_) {
        co_return;
    }
    if (!self->stopping_) {
        co_await self->export_all();  // what came while the last export ran
    }
    self->time_up_.cancel();
    self->drop(self->queue_->take().size());
    if (self->failed_ > 0) {
        log_line(LogLevel::info,
                 "trace",
                 "{} spans exported, {} dropped since the start",
                 self->exported_,
                 self->failed_);
    }
    self->done_();
}

void TraceExporter::finish(Duration most, std::function<void()> done) {
    done_ = std::move(done);
    loop_.timers().set(time_up_, loop_.now() + most);
    wake_.fire();
}

void TraceExporter::on_time_up(void* self) {
    auto& exporter = *static_cast<TraceExporter*>(self);
    exporter.stop();
    if (exporter.talking_ != nullptr) {
        exporter.talking_->abort(Error{
            ErrorKind::timed_out, "orlopd stops, and the collector is slow", Side::upstream, 0});
    }
}

void TraceExporter::stop() {
    stopping_ = true;
    wake_.fire();
    interrupt_.fire();
}

runtime::Task<void> TraceExporter::export_all() {
    std::vector<telemetry::SpanPtr> spans = queue_->take();
    if (config_.exporter == model::TracingConfig::Exporter::none) {
        co_return;  // sampled under an older configuration
    }
    bool zipkin = config_.exporter == model::TracingConfig::Exporter::zipkin;
    for (std::size_t at = 0; at < spans.size();) {
        if (stopping_) {
            drop(spans.size() - at);
            co_return;
        }
        std::size_t count = std::min(limits::trace_batch_spans_max, spans.size() - at);
        auto begin = spans.begin() + static_cast<std::ptrdiff_t>(at);
        std::vector<telemetry::SpanPtr> batch(
            std::make_move_iterator(begin),
            std::make_move_iterator(begin + static_cast<std::ptrdiff_t>(count)));
        at += count;
        std::string body =
            zipkin ? telemetry::spans_as_zipkin(batch) : telemetry::spans_as_otlp(batch);
        auto posted = co_await post(std::move(body));
        if (!posted) {
            note_failure(posted.error(), spans.size() - at + count);
            co_return;  // the rest would fail the same way
        }
        exported_ += count;
        complained_ = false;
    }
}

void TraceExporter::drop(std::size_t spans) {
    failed_ += spans;
    queue_->count_dropped(spans);
}

void TraceExporter::note_failure(const Error& error, std::size_t spans) {
    drop(spans);
    if (!complained_) {
        complained_ = true;
        log_line(LogLevel::warning,
                 "trace",
                 "{} spans dropped: collector {}: {}; check spec.tracing of the MeshConfig",
                 spans,
                 config_.collector.to_string(),
                 error.context);
    }
}

runtime::Task<Result<void>> TraceExporter::post(std::string body) {
    std::string message = fmt::format("POST {} HTTP/1.1\r\nhost: {}\r\n"
                                      "content-type: application/json\r\nconnection: close\r\n"
                                      "content-length: {}\r\n\r\n{}",
                                      config_.path,
                                      config_.collector.to_string(),
                                      body.size(),
                                      body);
    net::ConnectRequest request;
    request.network = &network_;
    request.address = config_.collector;
    request.timeout = export_time_most;
    request.interrupt = &interrupt_;
    auto connected = co_await net::connect(loop_, sockets_, request);
    if (!connected) {
        co_return std::unexpected(connected.error());
    }
    std::unique_ptr<net::TcpStream> stream = std::move(*connected);
    Result<void> result;
    {
        Deadline watch{stream.get()};
        runtime::Timer deadline(&Deadline::on_deadline, &watch);
        loop_.timers().set(deadline, loop_.now() + export_time_most);
        talking_ = stream.get();
        result = co_await talk(*stream, message);
        talking_ = nullptr;
    }
    co_await stream->close(net::Closing::orderly);
    co_return result;
}

// Sends, and waits for a 2xx: the rest of the answer is of no use.
runtime::Task<Result<void>> TraceExporter::talk(net::TcpStream& stream, std::string_view message) {
    constexpr std::size_t status_at = 9;  // behind "HTTP/1.1 "
    auto sent = co_await stream.write(message);
    while (sent && stream.input().size() < status_at + 3) {
        auto arrived = co_await stream.more();
        if (!arrived) {
            co_return std::unexpected(arrived.error());
        }
        if (*arrived == 0) {
            co_return fail(ErrorKind::closed, "closed without an answer", Side::upstream);
        }
    }
    if (!sent) {
        co_return sent;
    }
    std::string_view status = stream.input().substr(status_at, 3);
    if (!stream.input().starts_with("HTTP/1.") || !status.starts_with('2')) {
        co_return fail(ErrorKind::invalid_input,
                       fmt::format("answered {} to a POST of {}", status, config_.path),
                       Side::upstream);
    }
    co_return Result<void>();
}

}  // namespace orlop::app
