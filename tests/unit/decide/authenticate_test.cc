// Tables name only the fields they are about.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include "daemon/decide/authenticate.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

namespace orlop::decide {
namespace {

using model::MtlsMode;
using Transport = InboundTransport;

const SpiffeId peer{"cluster.local", "shop", "frontend"};

model::Workload a_callee(MtlsMode mode) {
    model::Workload out;
    out.mtls = mode;
    out.port_mtls = {{9000, MtlsMode::disable}, {9001, MtlsMode::strict}};
    out.probe_ports = {8081, 9001};
    return out;
}

struct InboundCase {
    const char* name;
    MtlsMode mode;
    InboundConnection connection;
    bool allowed;
    InboundReason reason;
};

TEST(JudgeInbound, every_mode_against_every_transport) {
    const auto plain = [](std::uint16_t port, SourceKind source = SourceKind::other) {
        return InboundConnection{.source = source, .port = port};
    };
    const InboundConnection tls{.transport = Transport::mutual_tls, .port = 80, .peer = &peer};
    const InboundConnection local{
        .transport = Transport::kernel_attested, .port = 80, .peer = &peer};
    const InboundConnection nobody{.transport = Transport::mutual_tls, .port = 80};
    const SpiffeId empty;
    const InboundConnection blank{
        .transport = Transport::kernel_attested, .port = 80, .peer = &empty};
    using R = InboundReason;
    const std::vector<InboundCase> cases = {
        {"strict, plaintext", MtlsMode::strict, plain(80), false, R::strict_refuses_plaintext},
        {"strict, mTLS", MtlsMode::strict, tls, true, R::mutual_tls},
        {"strict, same node", MtlsMode::strict, local, true, R::kernel_attested},
        {"strict, TLS without identity", MtlsMode::strict, nobody, false, R::no_peer_identity},
        {"attested without identity", MtlsMode::permissive, blank, false, R::no_peer_identity},
        {"permissive", MtlsMode::permissive, plain(80), true, R::plaintext_permitted},
        {"permissive, strict port",
         MtlsMode::permissive,
         plain(9001),
         false,
         R::strict_refuses_plaintext},
        {"strict, disabled port", MtlsMode::strict, plain(9000), true, R::plaintext_permitted},
        {"disable", MtlsMode::disable, plain(80), true, R::plaintext_permitted},
        {"disable, mTLS", MtlsMode::disable, tls, true, R::mutual_tls},
        {"unresolved mode refuses", MtlsMode::unset, plain(80), false, R::strict_refuses_plaintext},
        {"kubelet probe",
         MtlsMode::strict,
         plain(8081, SourceKind::this_node),
         true,
         R::kubelet_probe},
        {"kubelet probe of a strict port",
         MtlsMode::permissive,
         plain(9001, SourceKind::this_node),
         true,
         R::kubelet_probe},
        {"node to another port",
         MtlsMode::strict,
         plain(80, SourceKind::this_node),
         false,
         R::strict_refuses_plaintext},
        {"stranger to a probe port",
         MtlsMode::strict,
         plain(8081),
         false,
         R::strict_refuses_plaintext},
    };
    for (const InboundCase& one : cases) {
        const InboundDecision got = judge_inbound(a_callee(one.mode), one.connection);
        EXPECT_EQ(got.allowed, one.allowed) << one.name;
        EXPECT_EQ(got.reason, one.reason) << one.name << ": " << inbound_reason_name(got.reason);
    }
}

struct WireCase {
    const char* name;
    std::function<void(model::Workload& source,
                       model::Workload& callee,
                       model::TrafficPolicy& policy,
                       model::MeshConfig& mesh)>
        change;
    Wire wire;
    WireReason reason;
};

using W = model::Workload;
using P = model::TrafficPolicy;
using M = model::MeshConfig;
using Mode = model::ClientTls::Mode;
using R = WireReason;

void set_tls(P& p, Mode mode) {
    p.tls.emplace();
    p.tls->mode = mode;
}

const std::vector<WireCase> wire_cases = {
    {"captured on another node",
     [](W&, W& c, P&, M&) { c.local = false; },
     Wire::hbone,
     R::captured},
    {"same node", [](W&, W&, P&, M&) {}, Wire::same_node, R::captured_same_node},
    {"policy on the callee",
     [](W&, W& c, P&, M&) { c.network_policy_selected = true; },
     Wire::hbone,
     R::network_policy},
    {"policy on the caller",
     [](W& s, W&, P&, M&) { s.network_policy_selected = true; },
     Wire::hbone,
     R::network_policy},
    {"shortcut off",
     [](W&, W&, P&, M& m) { m.same_node_shortcut = false; },
     Wire::hbone,
     R::shortcut_off},
    {"caller elsewhere", [](W& s, W&, P&, M&) { s.local = false; }, Wire::hbone, R::captured},
    {"not enrolled",
     [](W&, W& c, P&, M&) { c.enrol_wanted = c.redirected = false; },
     Wire::plaintext,
     R::not_enrolled},
    {"leaving, still captured",
     [](W&, W& c, P&, M&) { c.enrol_wanted = false; },
     Wire::same_node,
     R::captured_same_node},
    {"host network",
     [](W&, W& c, P&, M&) { c.host_network = true; },
     Wire::plaintext,
     R::not_enrolled},
    {"not yet redirected",
     [](W&, W& c, P&, M&) { c.redirected = false; },
     Wire::plaintext,
     R::not_yet_redirected},
    {"not yet redirected and STRICT",
     [](W&, W& c, P&, M&) {
         c.redirected = false;
         c.mtls = MtlsMode::strict;
     },
     Wire::refused,
     R::strict_not_redirected},
    {"not yet redirected and STRICT on the port",
     [](W&, W& c, P&, M&) {
         c.redirected = false;
         c.port_mtls = {{8080, MtlsMode::strict}};
     },
     Wire::refused,
     R::strict_not_redirected},
    {"PA DISABLE",
     [](W&, W& c, P&, M&) { c.mtls = MtlsMode::disable; },
     Wire::plaintext,
     R::mtls_disabled},
    {"excluded port",
     [](W&, W& c, P&, M&) { c.exclusions.inbound_ports = {8080}; },
     Wire::plaintext,
     R::port_excluded},
    {"DR DISABLE towards a captured pod",
     [](W&, W& c, P& p, M&) {
         c.local = false;
         set_tls(p, Mode::disable);
     },
     Wire::hbone,
     R::captured},
    {"DR ISTIO_MUTUAL towards a captured pod",
     [](W&, W&, P& p, M&) { set_tls(p, Mode::istio_mutual); },
     Wire::same_node,
     R::captured_same_node},
    {"DR ISTIO_MUTUAL towards a plain pod",
     [](W&, W& c, P& p, M&) {
         c.enrol_wanted = c.redirected = false;
         set_tls(p, Mode::istio_mutual);
     },
     Wire::refused,
     R::mutual_tls_demanded},
    {"DR ISTIO_MUTUAL against PA DISABLE",
     [](W&, W& c, P& p, M&) {
         c.mtls = MtlsMode::disable;
         set_tls(p, Mode::istio_mutual);
     },
     Wire::hbone,
     R::captured},
    {"DR SIMPLE towards a captured pod: TLS inside the mesh's own wire",
     [](W&, W& c, P& p, M&) {
         c.local = false;
         set_tls(p, Mode::simple);
     },
     Wire::hbone,
     R::captured},
    {"DR MUTUAL towards a plain pod",
     [](W&, W& c, P& p, M&) {
         c.enrol_wanted = c.redirected = false;
         set_tls(p, Mode::mutual);
     },
     Wire::plaintext,
     R::not_enrolled},
};

TEST(WireFor, every_state_of_both_ends) {
    for (const WireCase& one : wire_cases) {
        model::Workload source;
        source.local = true;
        auto callee = std::make_shared<model::Workload>();
        callee->enrol_wanted = callee->redirected = callee->local = true;
        model::TrafficPolicy policy;
        model::MeshConfig mesh;
        one.change(source, *callee, policy, mesh);
        const model::Endpoint endpoint{.address = {IpAddress::v4(1), 8080}, .workload = callee};
        const WireChoice got = wire_for(&source, endpoint, &policy, mesh);
        EXPECT_EQ(got.wire, one.wire) << one.name << ": " << wire_name(got.wire);
        EXPECT_EQ(got.reason, one.reason) << one.name << ": " << wire_reason_name(got.reason);
    }
}

TEST(WireFor, unknown_ends) {
    const model::MeshConfig mesh;
    const model::Endpoint outside{.address = {IpAddress::v4(1), 443}};
    EXPECT_EQ(wire_for(nullptr, outside, nullptr, mesh).reason, WireReason::outside_mesh);
    auto callee = std::make_shared<model::Workload>();
    callee->enrol_wanted = callee->redirected = callee->local = true;
    const model::Endpoint inside{.address = {IpAddress::v4(2), 80}, .workload = callee};
    EXPECT_EQ(wire_for(nullptr, inside, nullptr, mesh).wire, Wire::hbone);
}

}  // namespace
}  // namespace orlop::decide
