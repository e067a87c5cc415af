#include "daemon/telemetry/access_log.h"

#include "daemon/telemetry/text_writer.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

namespace orlop::telemetry {

namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;

std::uint64_t to_ms(Duration duration) {
    return duration.count() > 0 ? static_cast<std::uint64_t>(duration.count()) / ns_per_ms : 0;
}

void put_time(TextWriter& out, WallTime time) {
    using namespace std::chrono;
    const auto ms = floor<milliseconds>(time);
    const auto day = floor<days>(ms);
    const year_month_day date(day);
    const hh_mm_ss<milliseconds> clock(ms - day);
    out.put_padded(static_cast<std::uint64_t>(static_cast<int>(date.year())), 4);
    out.put("-");
    out.put_padded(static_cast<unsigned>(date.month()), 2);
    out.put("-");
    out.put_padded(static_cast<unsigned>(date.day()), 2);
    out.put("T");
    out.put_padded(static_cast<std::uint64_t>(clock.hours().count()), 2);
    out.put(":");
    out.put_padded(static_cast<std::uint64_t>(clock.minutes().count()), 2);
    out.put(":");
    out.put_padded(static_cast<std::uint64_t>(clock.seconds().count()), 2);
    out.put(".");
    out.put_padded(static_cast<std::uint64_t>(clock.subseconds().count()), 3);
    out.put("Z");
}

// Hexadecimal without leading zeros, the longest run of two or more zero groups as :: (RFC 5952).
void put_ipv6(TextWriter& out, const std::array<std::uint8_t, 16>& bytes) {
    const auto group = [&](int i) {
        return static_cast<unsigned>(bytes[2 * i]) << 8 | bytes[2 * i + 1];
    };
    int best = -1;
    int best_length = 1;
    for (int i = 0; i < 8; ++i) {
        int length = 0;
        while (i + length < 8 && group(i + length) == 0) {
            ++length;
        }
        if (length > best_length) {
            best = i;
            best_length = length;
        }
    }
    for (int i = 0; i < 8; ++i) {
        if (i == best) {
            out.put("::");
            i += best_length - 1;
            continue;
        }
        if (i != 0 && i != best + best_length) {  // best -1, best_length 1: never equal here
            out.put(":");
        }
        char digits[4];
        const auto end = std::to_chars(digits, digits + sizeof(digits), group(i), 16).ptr;
        out.put(std::string_view(digits, static_cast<std::size_t>(end - digits)));
    }
}

void put_address(TextWriter& out, const SocketAddress& address) {
    if (address.ip.is_v4()) {
        const std::uint32_t ip = address.ip.to_v4();
        for (int shift = 24; shift >= 0; shift -= 8) {
            out.put_number((ip >> shift) & 0xFF);
            out.put(shift > 0 ? "." : ":");
        }
    } else {
        out.put("[");
        put_ipv6(out, address.ip.bytes());
        out.put("]:");
    }
    out.put_number(address.port);
}

// ---- text ----

void put_field(TextWriter& out, std::string_view value) {
    if (value.empty()) {
        out.put("-");
    } else {
        out.put_escaped_text(value);
    }
}

// Unquoted operators are separated by blanks, so a blank inside one would forge the next.
void put_word(TextWriter& out, std::string_view value) {
    if (value.empty()) {
        out.put("-");
    }
    while (!value.empty()) {
        const std::size_t blank = std::min(value.find(' '), value.size());
        out.put_escaped_text(value.substr(0, blank));
        value.remove_prefix(blank);
        if (!value.empty()) {
            out.put("_");
            value.remove_prefix(1);
        }
    }
    out.put(" ");
}

void put_quoted(TextWriter& out, std::string_view value) {
    out.put("\"");
    put_field(out, value);
    out.put("\" ");
}

void put_optional(TextWriter& out, const std::optional<SocketAddress>& address) {
    if (address) {
        put_address(out, *address);
    } else {
        out.put("-");
    }
}

void format_http_text(const RequestRecord& record, TextWriter& out) {
    out.put("[");
    put_time(out, record.started_wall);
    out.put("] \"");
    put_field(out, record.method);
    out.put(" ");
    put_field(out, record.path);
    out.put(" ");
    put_field(out, record.protocol);
    out.put("\" ");
    out.put_number(record.status);
    out.put(" ");
    out.put(record.flags.to_text().view());
    out.put(" ");
    put_word(out, record.details);
    put_word(out, record.termination_details);
    put_quoted(out, record.transport_failure);
    out.put_number(record.bytes_received);
    out.put(" ");
    out.put_number(record.bytes_sent);
    out.put(" ");
    out.put_number(to_ms(record.duration));
    out.put(" ");
    if (record.upstream_service_time) {
        out.put_number(to_ms(*record.upstream_service_time));
        out.put(" ");
    } else {
        out.put("- ");
    }
    put_quoted(out, record.x_forwarded_for);
    put_quoted(out, record.user_agent);
    put_quoted(out, record.request_id);
    put_quoted(out, record.authority);
    out.put("\"");
    put_optional(out, record.upstream_host);
    out.put("\" ");
    put_word(out, record.cluster);
    put_optional(out, record.upstream_local);
    out.put(" ");
    put_optional(out, record.downstream_local);
    out.put(" ");
    put_optional(out, record.downstream_remote);
    out.put(" ");
    put_word(out, record.requested_server_name);
    put_field(out, record.route_name);
}

// Istio's words for a connection: names and addresses of both ends, direction, bytes, duration.
void format_tcp_text(const RequestRecord& record, TextWriter& out) {
    out.put("[");
    put_time(out, record.started_wall);
    out.put("] connection ");
    out.put(record.flags.empty() ? "complete" : record.flags.to_text().view());
    out.put(" src.addr=");
    put_optional(out, record.downstream_remote);
    out.put(" src.workload=");
    put_word(out, record.source_workload);
    out.put("src.namespace=");
    put_word(out, record.source_namespace);
    if (!record.source_principal.empty()) {
        out.put("src.identity=");
        put_word(out, record.source_principal);
    }
    out.put("dst.addr=");
    put_optional(out, record.upstream_host ? record.upstream_host : record.downstream_local);
    out.put(" dst.service=");
    put_word(out, record.destination_service);
    out.put("dst.workload=");
    put_word(out, record.destination_workload);
    out.put("dst.namespace=");
    put_word(out, record.destination_namespace);
    out.put("direction=");
    out.put(record.direction == Direction::inbound ? "inbound" : "outbound");
    out.put(" path=");
    out.put(path_taken_name(record.path_taken));
    out.put(" bytes_sent=");
    out.put_number(record.bytes_sent);
    out.put(" bytes_recv=");
    out.put_number(record.bytes_received);
    out.put(" duration=");
    out.put_number(to_ms(record.duration));
    out.put("ms error=");
    out.put("\"");
    put_field(out, record.transport_failure.empty() ? record.details : record.transport_failure);
    if (!record.termination_details.empty()) {
        out.put(": ");
        put_field(out, record.termination_details);
    }
    out.put("\"");
}

// ---- JSON ----

// Writes `"key":value` pairs with commas between them.
class JsonLine {
public:
    explicit JsonLine(TextWriter& out) : out_(out) { out_.put("{"); }
    void close() { out_.put("}"); }
    void text(std::string_view key, std::string_view value) {
        open(key);
        if (value.empty()) {
            out_.put("null");
            return;
        }
        out_.put("\"");
        out_.put_escaped_json(value);
        out_.put("\"");
    }
    void number(std::string_view key, std::uint64_t value) {
        open(key);
        out_.put_number(value);
    }
    void address(std::string_view key, const std::optional<SocketAddress>& value) {
        open(key);
        if (!value) {
            out_.put("null");
            return;
        }
        out_.put("\"");
        put_address(out_, *value);
        out_.put("\"");
    }
    void time(std::string_view key, WallTime value) {
        open(key);
        out_.put("\"");
        put_time(out_, value);
        out_.put("\"");
    }

private:
    void open(std::string_view key) {
        out_.put(first_ ? "\"" : ",\"");
        first_ = false;
        out_.put(key);
        out_.put("\":");
    }
    TextWriter& out_;
    bool first_ = true;
};

std::string_view flags_or_null(const FlagText& text, ResponseFlags flags) {
    return flags.empty() ? std::string_view("-") : text.view();
}

void format_http_json(const RequestRecord& record, TextWriter& out) {
    const FlagText flags = record.flags.to_text();
    JsonLine line(out);
    line.text("authority", record.authority);
    line.number("bytes_received", record.bytes_received);
    line.number("bytes_sent", record.bytes_sent);
    line.text("connection_termination_details", record.termination_details);
    line.address("downstream_local_address", record.downstream_local);
    line.address("downstream_remote_address", record.downstream_remote);
    line.number("duration", to_ms(record.duration));
    line.text("method", record.method);
    line.text("path", record.path);
    line.text("protocol", record.protocol);
    line.text("request_id", record.request_id);
    line.text("requested_server_name", record.requested_server_name);
    line.number("response_code", record.status);
    line.text("response_code_details", record.details);
    line.text("response_flags", flags_or_null(flags, record.flags));
    line.text("route_name", record.route_name);
    if (!record.source_principal.empty()) {
        line.text("source_principal", record.source_principal);
    }
    line.time("start_time", record.started_wall);
    line.text("upstream_cluster", record.cluster);
    line.address("upstream_host", record.upstream_host);
    line.address("upstream_local_address", record.upstream_local);
    line.number("upstream_request_attempt_count", record.tries);
    if (record.upstream_service_time) {
        line.number("upstream_service_time", to_ms(*record.upstream_service_time));
    } else {
        line.text("upstream_service_time", "");
    }
    line.text("upstream_transport_failure_reason", record.transport_failure);
    line.text("user_agent", record.user_agent);
    line.text("x_forwarded_for", record.x_forwarded_for);
    line.close();
}

void format_tcp_json(const RequestRecord& record, TextWriter& out) {
    const FlagText flags = record.flags.to_text();
    JsonLine line(out);
    line.number("bytes_recv", record.bytes_received);
    line.number("bytes_sent", record.bytes_sent);
    if (!record.termination_details.empty()) {
        line.text("connection_termination_details", record.termination_details);
    }
    line.text("direction", record.direction == Direction::inbound ? "inbound" : "outbound");
    line.address("dst.addr", record.upstream_host ? record.upstream_host : record.downstream_local);
    line.text("dst.namespace", record.destination_namespace);
    line.text("dst.service", record.destination_service);
    line.text("dst.workload", record.destination_workload);
    line.number("duration", to_ms(record.duration));
    line.text("error",
              record.transport_failure.empty() ? record.details : record.transport_failure);
    line.text("path", path_taken_name(record.path_taken));
    line.text("response_flags", flags_or_null(flags, record.flags));
    line.address("src.addr", record.downstream_remote);
    if (!record.source_principal.empty()) {
        line.text("src.identity", record.source_principal);
    }
    line.text("src.namespace", record.source_namespace);
    line.text("src.workload", record.source_workload);
    line.time("start_time", record.started_wall);
    line.close();
}

}  // namespace

std::string format_wall_time(WallTime time) {
    std::array<char, 40> buffer;
    TextWriter out{std::span<char>(buffer)};
    put_time(out, time);
    return std::string(out.view());
}

std::string_view
format_access_log(const RequestRecord& record, LineFormat format, LineBuffer& buffer) {
    TextWriter out{std::span<char>(buffer)};
    const bool tcp = record.kind == ExchangeKind::tcp;
    if (format == LineFormat::json) {
        tcp ? format_tcp_json(record, out) : format_http_json(record, out);
    } else {
        tcp ? format_tcp_text(record, out) : format_http_text(record, out);
    }
    return out.view();
}

}  // namespace orlop::telemetry
