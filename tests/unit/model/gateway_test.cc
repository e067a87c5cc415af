#include "daemon/model/gateway.h"

#include <gtest/gtest.h>

namespace orlop::model {
namespace {

VirtualHostPtr named(const char* name) {
    auto host = std::make_shared<VirtualHost>();
    host->host = name;
    return host;
}

TEST(HostTable, prefers_the_exact_name_then_the_longest_wildcard) {
    HostTable table;
    for (const char* host : {"*", "*.example.com", "*.shop.example.com", "shop.example.com"}) {
        EXPECT_TRUE(table.add(host, named(host))) << host;
        EXPECT_FALSE(table.add(host, named("again"))) << host;
    }
    struct Case {
        const char* authority;
        const char* host;
    };
    const Case cases[] = {
        {"shop.example.com", "shop.example.com"},
        {"SHOP.example.com:8443", "shop.example.com"},
        {"shop.example.com.", "shop.example.com"},
        {"a.shop.example.com", "*.shop.example.com"},
        {"example.com", "*"},
        {".example.com", "*"},
        {"a.example.com", "*.example.com"},
        {"10.0.0.1:80", "*"},
        {"[fd00::1]:80", "*"},
        {"", "*"},
    };
    for (const Case& c : cases) {
        ASSERT_NE(table.find(c.authority), nullptr) << c.authority;
        EXPECT_EQ(table.find(c.authority)->host, c.host) << c.authority;
    }
    EXPECT_EQ(table.find(std::string(300, 'a'))->host, "*");
}

TEST(HostTable, knows_nobody_when_nothing_covers_the_name) {
    HostTable table;
    EXPECT_TRUE(table.add("*.example.com", named("wild")));
    EXPECT_EQ(table.find("example.org"), nullptr);
    EXPECT_EQ(table.find(std::string(300, 'a') + ".example.com"), nullptr);
}

TEST(GatewayListener, chooses_the_server_by_name) {
    GatewayListener listener;
    listener.tls = true;
    for (std::vector<std::string> names : {std::vector<std::string>{"*.example.com", "b.org"},
                                           std::vector<std::string>{"a.example.com"},
                                           std::vector<std::string>{"*.a.example.com"}}) {
        GatewayServer server;
        server.name = names.front();
        server.server_names = names;
        listener.servers.push_back(std::move(server));
    }
    EXPECT_EQ(listener.find_server("a.example.com")->name, "a.example.com");
    EXPECT_EQ(listener.find_server("x.a.example.com")->name, "*.a.example.com");
    EXPECT_EQ(listener.find_server("b.org")->name, "*.example.com");
    EXPECT_EQ(listener.find_server("c.org"), nullptr);
    EXPECT_EQ(listener.find_server(""), nullptr);
}

}  // namespace
}  // namespace orlop::model
