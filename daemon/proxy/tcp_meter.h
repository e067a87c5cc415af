// TcpMeter: the life of one TCP connection in istio_tcp_*: opened, bytes every five seconds while
// it lasts, the rest and closed at its end. One core; lives as long as the connection.
//
//     TcpMeter meter(core.loop(), *series);
//     co_await relay_into(first, second, meter.outcome());
#pragma once

#include "daemon/proxy/relay.h"
#include "daemon/runtime/loop.h"
#include "daemon/telemetry/metrics.h"

namespace orlop::proxy {

class TcpMeter {
public:
    TcpMeter(runtime::Loop& loop, telemetry::TrafficSeries& series)
        : loop_(loop), series_(&series), timer_(&TcpMeter::on_time, this) {
        series_->tcp_opened();
        arm();
    }
    ~TcpMeter() {
        report();
        for (const auto* held : {&series_, &other_end_}) {
            telemetry::TrafficSeries* one = *held;
            if (one != nullptr) {
                one->tcp_closed();
            }
        }
    }
    // The other end's view as well, where one proxy speaks for both.
    void report_to(telemetry::TrafficSeries& other_end) {
        other_end_ = &other_end;
        other_end.tcp_opened();
    }
    RelayOutcome& outcome() { return outcome_; }

private:
    static constexpr Duration interval = std::chrono::seconds(5);
    void arm() { loop_.timers().set(timer_, loop_.now() + interval); }
    static void on_time(void* self) {
        static_cast<TcpMeter*>(self)->report();
        static_cast<TcpMeter*>(self)->arm();
    }
    void report() {
        for (const auto* held : {&series_, &other_end_}) {
            telemetry::TrafficSeries* one = *held;
            if (one != nullptr) {
                one->tcp_bytes(outcome_.to_second - received_, outcome_.to_first - sent_);
            }
        }
        received_ = outcome_.to_second;
        sent_ = outcome_.to_first;
    }

    runtime::Loop& loop_;
    telemetry::Held<telemetry::TrafficSeries> series_;
    telemetry::Held<telemetry::TrafficSeries> other_end_;
    runtime::Timer timer_;
    RelayOutcome outcome_;
    std::uint64_t received_ = 0;
    std::uint64_t sent_ = 0;
};

}  // namespace orlop::proxy
