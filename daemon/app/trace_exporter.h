// TraceExporter: takes spans off their queue once a second and posts them to the collector that
// MeshConfig names, OTLP/HTTP or Zipkin. On the control thread's loop, asynchronously: a collector
// that hangs delays nothing but spans, and what cannot be delivered is dropped and counted. Data
// cores only push.
//
//     TraceExporter exporter(loop, sockets, queue);
//     scope.spawn(&TraceExporter::run, &exporter);
//     exporter.configure(snapshot.mesh().tracing);
#pragma once

#include "daemon/model/snapshot.h"
#include "daemon/net/connector.h"
#include "daemon/telemetry/span.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace orlop::app {

// Sockets of the network that the process itself is in.
class HostSockets final : public net::SocketSource {
public:
    Result<int> open_socket(const net::Network& network, const net::SocketWish& wish) override;
};

class TraceExporter {
public:
    TraceExporter(runtime::Loop& loop,
                  net::SocketSource& sockets,
                  std::shared_ptr<telemetry::SpanQueue> queue)
        : loop_(loop), sockets_(sockets), queue_(std::move(queue)) {}

    void configure(const model::TracingConfig& config) { config_ = config; }
    static runtime::Task<void> run(TraceExporter* self);  // until stop()
    void stop();                                          // at once; what is queued stays there
    // Exports what is queued, for `most` at the longest; what is left then is dropped and counted.
    // run() calls `done` when it is over.
    void finish(Duration most, std::function<void()> done);

    std::uint64_t exported() const { return exported_; }
    std::uint64_t failed() const { return failed_; }

private:
    struct HostNetwork final : net::Network {};

    runtime::Task<void> export_all();
    runtime::Task<Result<void>> post(std::string body);
    runtime::Task<Result<void>> talk(net::TcpStream& stream, std::string_view message);
    void note_failure(const Error& error, std::size_t spans);
    void drop(std::size_t spans);
    static void on_time_up(void* self);

    runtime::Loop& loop_;
    net::SocketSource& sockets_;
    std::shared_ptr<telemetry::SpanQueue> queue_;
    model::TracingConfig config_;
    HostNetwork network_;
    net::Interrupt wake_;       // ends the wait between two exports
    net::Interrupt interrupt_;  // ends an attempt to connect
    net::Stream* talking_ = nullptr;
    runtime::Timer time_up_{&TraceExporter::on_time_up, this};
    std::function<void()> done_;  // set by finish()
    bool stopping_ = false;
    bool complained_ = false;  // about the collector, since it last took something
    std::uint64_t exported_ = 0;
    std::uint64_t failed_ = 0;
};

}  // namespace orlop::app
