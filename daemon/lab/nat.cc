#include "daemon/lab/nat.h"

#include <fmt/core.h>

namespace orlop::lab {

namespace {

std::string dnat_rule(std::string_view word, const NatPort& port) {
    std::string rule = fmt::format("        {} daddr {} {} dport {} dnat {} to ",
                                   word,
                                   port.service_ip,
                                   port.protocol,
                                   port.port,
                                   word);
    if (port.endpoints.size() == 1) {
        const NatEndpoint& only = port.endpoints.front();
        const bool v6 = word == "ip6";
        return rule + fmt::format("{}{}{}:{}\n", v6 ? "[" : "", only.ip, v6 ? "]" : "", only.port);
    }
    rule += fmt::format("numgen random mod {} map {{ ", port.endpoints.size());
    for (std::size_t i = 0; i < port.endpoints.size(); ++i) {
        rule += fmt::format(
            "{}{} : {} . {}", i == 0 ? "" : ", ", i, port.endpoints[i].ip, port.endpoints[i].port);
    }
    // The map yields address and port together; "addr . port" tells nft so.
    const std::size_t to = rule.find("dnat ");
    rule.replace(to, rule.find(" to ", to) - to, fmt::format("dnat {} addr . port", word));
    return rule + " }\n";
}

std::string reject_rule(std::string_view word, const NatPort& port) {
    const char* how = port.protocol == "tcp" ? "reject with tcp reset" : "reject";
    return fmt::format("        {} daddr {} {} dport {} {}\n",
                       word,
                       port.service_ip,
                       port.protocol,
                       port.port,
                       how);
}

}  // namespace

std::string render_nat(NatFamily family,
                       const std::vector<NatPort>& ports,
                       const std::vector<std::string>& pod_ips) {
    const std::string_view word = family == NatFamily::ip ? "ip" : "ip6";
    std::string dnat;
    std::string reject;
    for (const NatPort& port : ports) {
        if (port.endpoints.empty()) {
            reject += reject_rule(word, port);
        } else {
            dnat += dnat_rule(word, port);
        }
    }
    std::string hairpin;
    for (const std::string& ip : pod_ips) {
        hairpin += fmt::format("{}{} . {}", hairpin.empty() ? "" : ", ", ip, ip);
    }
    std::string text = fmt::format("table {} orlop_lab\ndelete table {} orlop_lab\n", word, word);
    text += fmt::format("table {} orlop_lab {{\n", word);
    text += "    chain services {\n" + dnat + "    }\n";
    text += "    chain refuse {\n" + reject + "    }\n";
    text += "    chain prerouting {\n"
            "        type nat hook prerouting priority -100\n        jump services\n    }\n"
            "    chain output {\n"
            "        type nat hook output priority -100\n        jump services\n    }\n"
            "    chain refuse_forward {\n"
            "        type filter hook forward priority 0\n        jump refuse\n    }\n"
            "    chain refuse_output {\n"
            "        type filter hook output priority 0\n        jump refuse\n    }\n"
            "    chain postrouting {\n        type nat hook postrouting priority 100\n";
    if (!hairpin.empty()) {
        text += fmt::format("        {} saddr . {} daddr {{ {} }} ct status dnat masquerade\n",
                            word,
                            word,
                            hairpin);
    }
    return text + "    }\n}\n";
}

}  // namespace orlop::lab
