// bench-load: drives one load against one address and prints one JSON line.
//
//     bench-load --address 10.0.0.2 --port 8080 --connections 64 --seconds 3 --watch mesh=123,124
//     bench-load ... --rate 1000             open loop, latency from the scheduled time
//     bench-load ... --traffic connect|echo
//     bench-load ... --traffic h2 --connections 1 --streams 100
//     bench-load ... --connections 1 --sever-port 15008    the mesh shakes hands for every request
//     bench-load ... --slice-ms 100          and [replies, p99] of every 100 ms of the window
//
// Exit 0 with figures; 3 with {"error": ...} when any answer was wrong; 2 for bad arguments.
#include "bench/load/generator.h"
#include "bench/load/options.h"

#include <cstdio>
#include <string>

namespace {

using orlop::bench::CpuWatch;
using orlop::bench::Outcome;

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') {
            out.push_back('\\');
        }
        out.push_back(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
    }
    return out + "\"";
}

void print_latency(const Outcome& outcome) {
    const auto& latency = outcome.latency;
    std::printf(",\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f",
                static_cast<double>(latency.quantile(0.5)) / 1e3,
                static_cast<double>(latency.quantile(0.9)) / 1e3,
                static_cast<double>(latency.quantile(0.99)) / 1e3,
                static_cast<double>(latency.quantile(0.999)) / 1e3,
                static_cast<double>(latency.max()) / 1e3);
    std::printf(",\"cdf_us\":[");
    for (int i = 1; i < 100; ++i) {
        std::printf(
            "%s%.1f", i == 1 ? "" : ",", static_cast<double>(latency.quantile(i / 100.0)) / 1e3);
    }
    std::printf("]");
}

void print_slices(const Outcome& outcome) {
    if (outcome.slices.empty()) {
        return;
    }
    const char* comma = "";
    std::printf(",\"slices\":[");
    for (const auto& slice : outcome.slices) {
        std::printf("%s[%llu,%.1f]",
                    comma,
                    static_cast<unsigned long long>(slice.count()),
                    slice.count() == 0 ? 0.0 : static_cast<double>(slice.quantile(0.99)) / 1e3);
        comma = ",";
    }
    std::printf("]");
}

void print_cpu(const CpuWatch& watch, const Outcome& outcome) {
    auto per_reply_us = [&](std::int64_t ns) {
        return outcome.replies == 0
                   ? 0.0
                   : static_cast<double>(ns) / 1e3 / static_cast<double>(outcome.replies);
    };
    std::int64_t ours = watch.own_ns();
    for (const auto& group : watch.groups()) {
        ours += group.cpu_ns;
        const char* name = group.name.c_str();
        auto replies = static_cast<double>(outcome.replies);
        auto ticks = static_cast<double>(group.user_ticks + group.kernel_ticks);
        auto in_user = ticks > 0 ? static_cast<double>(group.user_ticks) / ticks : 0;
        std::printf(",\"cpu_%s_us\":%.3f", name, per_reply_us(group.cpu_ns));
        std::printf(",\"cpu_%s_user_share\":%.3f", name, in_user);
        std::printf(",\"switches_%s\":%.4f",
                    name,
                    replies > 0 ? static_cast<double>(group.switches) / replies : 0);
    }
    std::printf(",\"cpu_load_us\":%.3f,\"cpu_ours_us\":%.3f",
                per_reply_us(watch.own_ns()),
                per_reply_us(ours));
    std::printf(",\"foreign_cores\":%.3f,\"steal_cores\":%.3f,\"core_busy\":[",
                static_cast<double>(watch.machine_ns() - ours) / 1e9 / outcome.window_s,
                static_cast<double>(watch.steal_ns()) / 1e9 / outcome.window_s);
    const char* comma = "";
    for (double busy : watch.core_busy()) {
        std::printf("%s%.3f", comma, busy);
        comma = ",";
    }
    std::printf("]");
}

void print_counted(const Outcome& outcome) {
    auto per_reply = [&](std::uint64_t number) {
        return static_cast<double>(number) / static_cast<double>(outcome.replies);
    };
    std::printf(
        ",\"counted_per_reply\":%.4f,\"copies_per_reply\":%.3f,\"copied_bytes_per_reply\":%.1f",
        per_reply(outcome.counted.allocations),
        per_reply(outcome.counted.copies),
        per_reply(outcome.counted.copied_bytes));
}

}  // namespace

int main(int argc, char** argv) {
    auto options = orlop::bench::parse_options(argc, argv);
    if (!options) {
        std::fprintf(stderr, "bench-load: %s\n", options.error().c_str());
        return 2;
    }
    CpuWatch watch(options->groups);
    orlop::bench::Generator generator(*options, watch);
    auto outcome = generator.run();
    if (!outcome) {
        std::printf("{\"error\":%s}\n", quoted(outcome.error()).c_str());
        return 3;
    }
    std::printf("{\"replies\":%llu,\"window_s\":%.4f,\"rate\":%.1f,\"queue_depth_max\":%llu",
                static_cast<unsigned long long>(outcome->replies),
                outcome->window_s,
                static_cast<double>(outcome->replies) / outcome->window_s,
                static_cast<unsigned long long>(outcome->queue_depth_max));
    if (options->sever_port != 0) {
        std::printf(",\"severed\":%llu", static_cast<unsigned long long>(outcome->severed));
    }
    print_latency(*outcome);
    print_slices(*outcome);
    print_cpu(watch, *outcome);
    if (!options->counter_file.empty()) {
        print_counted(*outcome);
    }
    std::printf("}\n");
    return 0;
}
