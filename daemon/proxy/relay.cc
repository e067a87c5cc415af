#include "daemon/proxy/relay.h"

namespace orlop::proxy {
namespace {

struct Pump {
    net::Stream& from;
    net::Stream& to;
    std::uint64_t& bytes;
    std::optional<Error>& failure;
};

// A broken direction ends the other one too: half of a conversation is worse than none.
void break_off(const Pump& pump, Error error) {
    if (!pump.failure) {
        pump.failure = error;
    }
    pump.from.abort(error);
    pump.to.abort(std::move(error));
}

runtime::Task<void> run_pump(Pump* pump) {
    while (true) {
        std::string_view bytes = pump->from.input();
        if (bytes.empty()) {
            auto arrived = co_await pump->from.more();
            if (!arrived) {
                break_off(*pump, arrived.error());
                co_return;
            }
            if (*arrived == 0) {
                pump->to.shutdown_write();
                co_return;
            }
            continue;
        }
        pump->from.read_ahead();
        auto written = co_await pump->to.write(bytes);
        if (!written) {
            break_off(*pump, written.error());
            co_return;
        }
        pump->bytes += bytes.size();
        pump->from.consume(bytes.size());
    }
}

}  // namespace

runtime::Task<void> relay_into(net::Stream& first, net::Stream& second, RelayOutcome& outcome) {
    Pump forth{first, second, outcome.to_second, outcome.failure};
    Pump back{second, first, outcome.to_first, outcome.failure};
    runtime::Scope pumps(first.loop());
    pumps.spawn(&run_pump, &back);
    pumps.spawn(&run_pump, &forth);
    co_await pumps.join();
}

runtime::Task<RelayOutcome> relay(net::Stream& first, net::Stream& second) {
    RelayOutcome outcome;
    co_await relay_into(first, second, outcome);
    co_return outcome;
}

}  // namespace orlop::proxy
