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
    void stop();

    std::uint64_t exported() const { return exported_; }
    std::uint64_t failed() const { return failed_; }

private:
    struct HostNetwork final : net::Network {};

    runtime::Task<void> export_all();
    runtime::Task<Result<void>> post(std::string body);
    runtime::Task<Result<void>> talk(net::TcpStream& stream, std::string_view message);
    void note_failure(const Error& error, std::size_t spans);

    runtime::Loop& loop_;
    net::SocketSource& sockets_;
    std::shared_ptr<telemetry::SpanQueue> queue_;
    model::TracingConfig config_;
    HostNetwork network_;
    net::Interrupt interrupt_;
    bool stopping_ = false;
    bool complained_ = false;  // about the collector, since it last took something
    std::uint64_t exported_ = 0;
    std::uint64_t failed_ = 0;
};

}  // namespace orlop::app
