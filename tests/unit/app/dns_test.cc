// Look-ups against a name server of our own on loopback.
#include "daemon/app/dns.h"
#include "daemon/runtime/uring_backend.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

namespace orlop::app {
namespace {

// Answers A questions with `addresses`, AAAA with none, or everything with SERVFAIL.
class NameServer {
public:
    NameServer() {
        fd_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in any{};
        any.sin_family = AF_INET;
        any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof any;
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), size), 0);
        EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &size), 0);
        port_ = ntohs(any.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~NameServer() {
        sockaddr_in self{};
        self.sin_family = AF_INET;
        self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        self.sin_port = htons(port_);
        (void)::sendto(fd_.get(), "", 0, 0, reinterpret_cast<sockaddr*>(&self), sizeof self);
        thread_.join();
    }
    std::string name() const { return "127.0.0.1:" + std::to_string(port_); }

    std::atomic<int> last_byte{1};  // of the answered 192.0.2.x
    std::atomic<bool> failing{false};
    std::atomic<int> failures{0};

private:
    void serve() {
        std::array<char, 512> buffer;
        while (true) {
            sockaddr_in from{};
            socklen_t size = sizeof from;
            auto got = ::recvfrom(fd_.get(),
                                  buffer.data(),
                                  buffer.size(),
                                  0,
                                  reinterpret_cast<sockaddr*>(&from),
                                  &size);
            if (got < 12) {
                return;  // no question: the destructor's word
            }
            std::string reply = answer(std::string(buffer.data(), static_cast<std::size_t>(got)));
            (void)::sendto(
                fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
        }
    }

    std::string answer(const std::string& question) {
        std::size_t end = question.find('\0', 12) + 5;  // name, its zero, type, class
        bool ipv4 = question[end - 3] == 1;
        std::string body = question.substr(12, end - 12);
        bool fails = failing;
        failures += fails ? 1 : 0;
        bool records = ipv4 && !fails;
        std::string head = question.substr(0, 2);
        head += std::string("\x81", 1) + static_cast<char>(fails ? 0x82 : 0x80);
        head += std::string("\0\1\0", 3) + static_cast<char>(records ? 2 : 0);
        head += std::string(4, '\0');
        std::string record = std::string("\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2", 15);  // TTL 1 s
        if (records) {
            body += record + static_cast<char>(last_byte.load());
            body += record + static_cast<char>(200);
        }
        return head + body;
    }

    UniqueFd fd_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

struct Resolving {
    Resolving() {
        auto backend = runtime::create_uring_backend(
            {.entries = 64, .completions = 256, .buffers = 8, .buffer_bytes = 4096}, nullptr);
        loop = std::make_unique<runtime::Loop>(std::move(*backend));
        scope = std::make_unique<runtime::Scope>(*loop);
        auto opened =
            DnsResolver::open(*loop, *scope, {.servers = server.name()}, [this] { ++changes; });
        resolver = opened ? std::move(*opened) : nullptr;
    }
    ~Resolving() {
        resolver->stop();
        while (scope->live() != 0) {
            loop->turn(runtime::Backend::Wait::until_event);
        }
    }
    void run_until(const std::function<bool()>& done) {
        for (int turn = 0; turn < 100'000 && !done(); ++turn) {
            loop->turn(runtime::Backend::Wait::until_event);
        }
    }
    std::string first_address() const {
        auto found = resolver->answers().find("api.example.com");
        return found == resolver->answers().end() ? "" : found->second.front().to_string();
    }
    NameServer server;
    std::unique_ptr<runtime::Loop> loop;
    std::unique_ptr<runtime::Scope> scope;
    std::unique_ptr<DnsResolver> resolver;
    int changes = 0;
};

TEST(DnsResolver, keeps_the_last_good_answer_while_the_server_fails) {
    Resolving test;
    ASSERT_NE(test.resolver, nullptr);
    test.resolver->want({"api.example.com"});
    test.run_until([&] { return test.changes == 1; });
    EXPECT_EQ(test.first_address(), "192.0.2.1");
    EXPECT_EQ(test.resolver->answers().at("api.example.com").size(), 2u);
    test.server.failing = true;  // seen when the TTL of one second has passed
    auto failed = [&] { return !test.resolver->names().at("api.example.com").failure.empty(); };
    test.run_until(failed);
    EXPECT_TRUE(failed());
    EXPECT_GT(test.server.failures.load(), 0);
    EXPECT_EQ(test.first_address(), "192.0.2.1") << "the last good answer stays";
    EXPECT_EQ(test.changes, 1);
    test.server.last_byte = 7;
    test.server.failing = false;
    test.run_until([&] { return test.changes == 2; });
    EXPECT_EQ(test.first_address(), "192.0.2.7");
    EXPECT_TRUE(test.resolver->names().at("api.example.com").failure.empty());
}

TEST(DnsResolver, a_name_that_is_not_wanted_any_more_is_forgotten) {
    Resolving test;
    ASSERT_NE(test.resolver, nullptr);
    test.resolver->want({"api.example.com"});
    test.run_until([&] { return test.changes == 1; });
    test.resolver->want({});
    EXPECT_TRUE(test.resolver->answers().empty());
    EXPECT_TRUE(test.resolver->names().empty());
}

}  // namespace
}  // namespace orlop::app
