#include "daemon/lab/addresses.h"
#include "daemon/lab/config.h"
#include "daemon/lab/names.h"
#include "daemon/lab/nat.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/status_wire.h"
#include "daemon/lab/wire.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

namespace orlop::lab {
namespace {

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST(Addresses, numbers_come_back_as_late_as_possible) {
    NumberPool pool(2, 4);
    EXPECT_EQ(*pool.take(), 2);
    EXPECT_EQ(*pool.take(), 3);
    pool.give_back(2);
    EXPECT_EQ(*pool.take(), 4);
    EXPECT_EQ(*pool.take(), 2);
    EXPECT_EQ(pool.take().error().kind, ErrorKind::limit_exceeded);
    EXPECT_FALSE(pool.take_exactly(3));
    EXPECT_FALSE(pool.take_exactly(9));
}

TEST(Addresses, both_families_share_one_number) {
    EXPECT_EQ(pod_ip4(2, 17), "10.244.2.17");
    EXPECT_EQ(pod_ip6(2, 17), "fd00:10:244:2::11");
    EXPECT_EQ(service_ip4(300), "10.96.1.44");
    EXPECT_EQ(service_ip6(300), "fd00:10:96::12c");
    EXPECT_EQ(*service_number("10.96.1.44"), 300);
    EXPECT_FALSE(service_number("10.97.0.1"));
    EXPECT_FALSE(service_number("fd00::1"));
}

TEST(Nat, draws_among_several_endpoints_and_names_a_single_one) {
    const std::string text =
        render_nat(NatFamily::ip,
                   {{"10.96.0.10", "tcp", 80, {{"10.244.1.2", 9090}}},
                    {"10.96.0.11", "udp", 53, {{"10.244.1.3", 5353}, {"10.244.2.3", 5353}}}},
                   {"10.244.1.2"});
    EXPECT_TRUE(contains(text, "ip daddr 10.96.0.10 tcp dport 80 dnat ip to 10.244.1.2:9090\n"));
    EXPECT_TRUE(contains(text,
                         "ip daddr 10.96.0.11 udp dport 53 dnat ip addr . port to numgen random "
                         "mod 2 map { 0 : 10.244.1.3 . 5353, 1 : 10.244.2.3 . 5353 }\n"));
}

TEST(Nat, refuses_a_service_port_without_endpoint) {
    const std::string text = render_nat(NatFamily::ip6, {{"fd00:10:96::a", "tcp", 80, {}}}, {});
    EXPECT_TRUE(contains(text, "ip6 daddr fd00:10:96::a tcp dport 80 reject with tcp reset\n"));
    EXPECT_FALSE(contains(text, "masquerade"));
}

TEST(Nat, masquerades_a_pod_that_reaches_itself) {
    const std::string text = render_nat(NatFamily::ip, {}, {"10.244.1.2", "10.244.1.3"});
    EXPECT_TRUE(contains(text,
                         "ip saddr . ip daddr { 10.244.1.2 . 10.244.1.2, 10.244.1.3 . "
                         "10.244.1.3 } ct status dnat masquerade\n"));
    // One transaction: the old table goes in the same breath.
    EXPECT_TRUE(text.starts_with("table ip orlop_lab\ndelete table ip orlop_lab\n"));
}

TEST(Names, a_pod_searches_its_own_namespace_first) {
    const std::string text = render_resolv_conf("shop", "10.244.1.1");
    EXPECT_TRUE(contains(text, "nameserver 10.244.1.1\n"));
    EXPECT_TRUE(contains(text, "search shop.svc.cluster.local svc.cluster.local cluster.local\n"));
    EXPECT_TRUE(contains(text, "ndots:5"));
    EXPECT_EQ(render_service_hosts({{"shop", "web", {"10.96.0.10", "fd00:10:96::a"}}}),
              "10.96.0.10 web.shop.svc.cluster.local\nfd00:10:96::a web.shop.svc.cluster.local\n");
}

TEST(ObjectFiles, a_pod_file_says_what_kubernetes_would) {
    PodView view;
    view.uid = "u-1";
    view.meta = {"shop", "web-1", {{"app", "we\"b"}}, {}};
    view.owner_kind = "ReplicaSet";
    view.owner_name = "web-abc";
    view.node = "n1";
    view.phase = "Running";
    view.ips = {"10.244.1.2", "fd00:10:244:1::2"};
    view.ready = PodView::Ready::yes;
    PodTemplate pod;
    Container container;
    container.name = "c";
    container.image = "i";
    container.ports = {{"http", 9090, "TCP"}};
    container.probes_yaml = "readinessProbe: {httpGet: {path: /, port: 9090}}\n";
    pod.containers = {container};
    const std::string text = render_pod(view, pod);
    for (const char* line : {"kind: Pod\n",
                             "    \"app\": \"we\\\"b\"\n",
                             "  uid: \"u-1\"\n",
                             "name: \"web-abc\"\n",
                             "  nodeName: \"n1\"\n",
                             "  serviceAccountName: \"default\"\n",
                             "    - containerPort: 9090\n",
                             "    readinessProbe: {httpGet: {path: /, port: 9090}}\n",
                             "  - ip: \"fd00:10:244:1::2\"\n",
                             "  - type: Ready\n    status: \"True\"\n"}) {
        EXPECT_TRUE(contains(text, line)) << line << text;
    }
    // The lab's own reader accepts it: it is YAML with no key given twice.
    EXPECT_TRUE(parse_manifest(text, "pod", "x"));
}

TEST(ObjectFiles, quoting_survives_hostile_text) {
    EXPECT_EQ(quote("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\nd\\x01\"");
}

TEST(Config, survives_its_file) {
    LabConfig config;
    config.location = {"/run/x", "orlop-x"};
    config.nodes = 2;
    config.families = Families::v4_only;
    config.mesh = Mesh::on;
    config.cgroup_root = "/sys/fs/cgroup";
    config.orlopd_args = {"--log", "debug level"};
    const auto read = parse_config(render_config(config));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->location.prefix, "orlop-x");
    EXPECT_EQ(read->nodes, 2);
    EXPECT_EQ(read->families, Families::v4_only);
    EXPECT_EQ(read->orlopd_args, config.orlopd_args);
    EXPECT_FALSE(parse_config("nodes 9\ncgroup_root /x\n"));
}

TEST(Wire, messages_and_status_survive_the_socket) {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    const UniqueFd here(fds[0]);
    const UniqueFd there(fds[1]);
    Status status;
    status.nodes.emplace_back().orlopd_pid = 7;
    status.pods.emplace_back().ready = true;
    status.pods.back().restarts = 3;
    status.jobs.push_back({"default", "j", "Complete", 0});
    Message message;
    append_status(status, message);
    ASSERT_TRUE(send_message(here.get(), message));
    const auto received = receive_message(there.get(), Wait::peer_limit);
    ASSERT_TRUE(received);
    EXPECT_EQ(*received, message);
    const auto read = read_status(*received);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->nodes.at(0).orlopd_pid, 7);
    EXPECT_TRUE(read->pods.at(0).ready);
    EXPECT_EQ(read->pods.at(0).restarts, 3);
    EXPECT_EQ(read->jobs.at(0).phase, "Complete");
    EXPECT_FALSE(read_status({"pod", "default"}));
}

TEST(Wire, refuses_a_message_that_claims_too_much) {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    const UniqueFd here(fds[0]);
    const UniqueFd there(fds[1]);
    const unsigned char huge[4] = {0xff, 0xff, 0xff, 0xff};
    ASSERT_EQ(::send(here.get(), huge, sizeof huge, 0), 4);
    EXPECT_EQ(receive_message(there.get(), Wait::peer_limit).error().kind,
              ErrorKind::limit_exceeded);
}

}  // namespace
}  // namespace orlop::lab
