#include "daemon/telemetry/access_log.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace orlop::telemetry {
namespace {

using std::chrono::milliseconds;

const WallTime a_moment = WallTime(std::chrono::seconds(1'772'368'496)) + milliseconds(7);

void fill(RequestRecord& record) {
    record.started_wall = a_moment;
    record.method = "GET";
    record.path = "/price?id=1";
    record.protocol = "HTTP/1.1";
    record.status = 503;
    record.flags.add(ResponseFlag::UF);
    record.flags.add(ResponseFlag::URX);
    record.details = "upstream_reset_before_response_started{remote_connection_failure}";
    record.transport_failure = "connection refused";
    record.bytes_received = 12;
    record.bytes_sent = 84;
    record.duration = milliseconds(1234) + std::chrono::microseconds(999);
    record.upstream_service_time = milliseconds(15);
    record.x_forwarded_for = "10.0.0.9";
    record.user_agent = "curl/8";
    record.request_id = "0b1f2c3d-0000-4000-8000-000000000000";
    record.authority = "pricing:80";
    record.upstream_host = SocketAddress{IpAddress::v4(0x0A000105), 8080};
    record.cluster = "outbound|80||pricing.shop.svc.cluster.local";
    record.upstream_local = SocketAddress{IpAddress::v4(0x0A000104), 40000};
    record.downstream_local = SocketAddress{IpAddress::v4(0x0A600001), 80};
    record.downstream_remote = SocketAddress{IpAddress::parse("fd00::1:0:0:7").value(), 51000};
    record.route_name = "default";
    record.tries = 3;
}

TEST(AccessLog, text_line_has_istios_operators_in_order) {
    RequestRecord record;
    fill(record);
    LineBuffer buffer;
    EXPECT_EQ(format_access_log(record, LineFormat::text, buffer),
              "[2026-03-01T12:34:56.007Z] \"GET /price?id=1 HTTP/1.1\" 503 UF,URX "
              "upstream_reset_before_response_started{remote_connection_failure} - "
              "\"connection refused\" 12 84 1234 15 \"10.0.0.9\" \"curl/8\" "
              "\"0b1f2c3d-0000-4000-8000-000000000000\" \"pricing:80\" \"10.0.1.5:8080\" "
              "outbound|80||pricing.shop.svc.cluster.local 10.0.1.4:40000 10.96.0.1:80 "
              "[fd00::1:0:0:7]:51000 - default");
}

TEST(AccessLog, missing_values_are_dashes) {
    RequestRecord record;
    LineBuffer buffer;
    EXPECT_EQ(format_access_log(record, LineFormat::text, buffer),
              "[1970-01-01T00:00:00.000Z] \"- - -\" 0 - - - \"-\" 0 0 0 - \"-\" \"-\" \"-\" \"-\" "
              "\"-\" - - - - - -");
}

TEST(AccessLog, a_caller_cannot_forge_a_field_or_a_line) {
    RequestRecord record;
    record.path = "/\" 200 -\r\n[x] \\";
    record.user_agent = std::string_view("a\0b\x7F", 4);
    record.requested_server_name = "one two";
    LineBuffer buffer;
    const std::string text(format_access_log(record, LineFormat::text, buffer));
    EXPECT_NE(text.find(R"("- /\" 200 -\x0d\x0a[x] \\ -")"), std::string::npos) << text;
    EXPECT_NE(text.find(R"("a\x00b\x7f")"), std::string::npos) << text;
    EXPECT_TRUE(text.ends_with(" one_two -")) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(AccessLog, json_has_istios_keys) {
    RequestRecord record;
    fill(record);
    LineBuffer buffer;
    EXPECT_EQ(
        format_access_log(record, LineFormat::json, buffer),
        "{\"authority\":\"pricing:80\",\"bytes_received\":12,\"bytes_sent\":84,"
        "\"connection_termination_details\":null,\"downstream_local_address\":\"10.96.0.1:80\","
        "\"downstream_remote_address\":\"[fd00::1:0:0:7]:51000\",\"duration\":1234,"
        "\"method\":\"GET\",\"path\":\"/price?id=1\",\"protocol\":\"HTTP/1.1\","
        "\"request_id\":\"0b1f2c3d-0000-4000-8000-000000000000\",\"requested_server_name\":null,"
        "\"response_code\":503,\"response_code_details\":"
        "\"upstream_reset_before_response_started{remote_connection_failure}\","
        "\"response_flags\":\"UF,URX\",\"route_name\":\"default\","
        "\"start_time\":\"2026-03-01T12:34:56.007Z\","
        "\"upstream_cluster\":\"outbound|80||pricing.shop.svc.cluster.local\","
        "\"upstream_host\":\"10.0.1.5:8080\",\"upstream_local_address\":\"10.0.1.4:40000\","
        "\"upstream_request_attempt_count\":3,\"upstream_service_time\":15,"
        "\"upstream_transport_failure_reason\":\"connection refused\",\"user_agent\":\"curl/8\","
        "\"x_forwarded_for\":\"10.0.0.9\"}");
}

TEST(AccessLog, json_stays_json_whatever_the_bytes) {
    RequestRecord record;
    record.path = record.keep(std::string(1024, '\x01'), 1024);
    record.user_agent = record.keep("\"\\\xFF\xC0\xAF\xED\xA0\x80\xE2\x82\xAC");
    record.authority = record.keep(std::string(256, '\n'));
    record.x_forwarded_for = record.keep(std::string(600, '\x1F'), 600);
    LineBuffer buffer;
    const std::string text(format_access_log(record, LineFormat::json, buffer));
    ASSERT_TRUE(text.ends_with("\"}"));
    EXPECT_NE(text.find("\\\"\\\\\xEF\xBF\xBD\xEF\xBF\xBD"), std::string::npos);
    EXPECT_NE(text.find("\xE2\x82\xAC\""), std::string::npos);
    for (const char c : text) {
        EXPECT_GE(static_cast<unsigned char>(c), 0x20);
    }
}

TEST(AccessLog, a_connection_names_both_ends) {
    RequestRecord record;
    record.kind = ExchangeKind::tcp;
    record.started_wall = a_moment;
    record.downstream_remote = SocketAddress{IpAddress::v4(0x0A000001), 5000};
    record.upstream_host = SocketAddress{IpAddress::v4(0x0A000002), 3306};
    record.source_workload = "web";
    record.source_namespace = "shop";
    record.destination_service = "db.shop.svc.cluster.local";
    record.path_taken = PathTaken::hbone;
    record.bytes_sent = 10;
    record.bytes_received = 20;
    record.duration = milliseconds(5);
    LineBuffer buffer;
    EXPECT_EQ(format_access_log(record, LineFormat::text, buffer),
              "[2026-03-01T12:34:56.007Z] connection complete src.addr=10.0.0.1:5000 "
              "src.workload=web src.namespace=shop dst.addr=10.0.0.2:3306 "
              "dst.service=db.shop.svc.cluster.local dst.workload=- dst.namespace=- "
              "direction=outbound path=hbone bytes_sent=10 bytes_recv=20 duration=5ms error=\"-\"");
    const std::string json(format_access_log(record, LineFormat::json, buffer));
    EXPECT_TRUE(
        json.starts_with("{\"bytes_recv\":20,\"bytes_sent\":10,\"direction\":\"outbound\""));
}

TEST(AccessLog, a_refused_connection_says_who_called_and_why_it_ended) {
    RequestRecord record;
    record.kind = ExchangeKind::tcp;
    record.source_principal = "spiffe://cluster.local/ns/town/sa/shopper";
    record.details = "filter_chain_not_found";
    record.termination_details = "no server has this SNI (Gateway shop/web https, port 443)";
    LineBuffer buffer;
    const std::string text(format_access_log(record, LineFormat::text, buffer));
    EXPECT_NE(text.find(" src.identity=spiffe://cluster.local/ns/town/sa/shopper dst.addr="),
              std::string::npos)
        << text;
    EXPECT_TRUE(text.ends_with("error=\"filter_chain_not_found: no server has this SNI "
                               "(Gateway shop/web https, port 443)\""))
        << text;
    const std::string json(format_access_log(record, LineFormat::json, buffer));
    EXPECT_NE(json.find("\"connection_termination_details\":\"no server"), std::string::npos);
    EXPECT_NE(json.find("\"src.identity\":\"spiffe://"), std::string::npos);
}

TEST(AccessLog, writes_ipv6_as_rfc_5952_does) {
    LineBuffer buffer;
    for (const char* text : {"[::]:1",
                             "[::1]:1",
                             "[1::]:1",
                             "[1:0:0:2::3]:1",
                             "[fd00::a]:1",
                             "[1:2:3:4:5:6:7:8]:1",
                             "[1:0:2:3:4:5:6:7]:1"}) {
        RequestRecord record;
        record.upstream_local = SocketAddress::parse(text).value();
        const std::string line(format_access_log(record, LineFormat::text, buffer));
        EXPECT_NE(line.find(" " + std::string(text) + " "), std::string::npos)
            << text << " in " << line;
    }
}

}  // namespace
}  // namespace orlop::telemetry
