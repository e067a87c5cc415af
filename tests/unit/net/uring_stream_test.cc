// The same streams on the kernel's ring, over loopback.
#include "daemon/net/connector.h"
#include "daemon/net/listener.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/runtime/scope.h"
#include "daemon/runtime/uring_backend.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>

namespace orlop::net {
namespace {

using runtime::Task;

struct Sockets final : SocketSource {
    Result<int> open_socket(const Network& network, const SocketWish& wish) override {
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        return fd < 0 ? Result<int>(fail_errno(errno, "socket")) : Result<int>(fd);
    }
};

struct Ring {
    Ring() {
        runtime::UringNotes notes;
        auto backend = runtime::create_uring_backend(
            {.entries = 64, .completions = 256, .buffers = 8, .buffer_bytes = 4096}, &notes);
        if (backend) {
            loop = std::make_unique<runtime::Loop>(std::move(*backend));
            scope = std::make_unique<runtime::Scope>(*loop);
        }
    }
    // Bounded by turns: every wait below ends with an event of the other side.
    void settle() {
        for (int turn = 0; turn < 200'000 && scope->live() != 0; ++turn) {
            loop->turn(runtime::Backend::Wait::until_event);
        }
        ASSERT_EQ(scope->live(), 0u);
    }
    std::unique_ptr<runtime::Loop> loop;
    std::unique_ptr<runtime::Scope> scope;
    Sockets sockets;
    Network network;
};

UniqueFd listening(SocketAddress& address) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), size), 0);
    EXPECT_EQ(::listen(fd.get(), 16), 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&any), &size), 0);
    address = {IpAddress::v4(0x7f00'0001), ntohs(any.sin_port)};
    return fd;
}

Task<void> echo(runtime::Loop* loop, int fd) {
    TcpStream stream(*loop, fd);
    while (true) {
        auto arrived = co_await stream.more();
        if (!arrived || *arrived == 0) {
            break;
        }
        stream.read_ahead();
        auto written = co_await stream.write(stream.input());
        if (!written) {
            break;
        }
        stream.consume(stream.input().size());
    }
    co_await stream.close(Closing::orderly);
}

Task<void> send_all(Stream* stream, std::string bytes) {
    auto sent = co_await stream->write(bytes);
    EXPECT_TRUE(sent);
    stream->shutdown_write();
}

Task<void>
client(Ring* ring, SocketAddress address, std::string sent, std::string* got, Listener* listener) {
    ConnectRequest request{&ring->network, address};
    auto stream = co_await connect(*ring->loop, ring->sockets, request);
    EXPECT_TRUE(stream);
    if (stream) {
        runtime::Scope sender(*ring->loop);
        sender.spawn(&send_all, stream->get(), std::move(sent));
        while (true) {
            auto arrived = co_await (*stream)->more();
            if (!arrived || *arrived == 0) {
                break;
            }
            got->append((*stream)->input());
            (*stream)->consume((*stream)->input().size());
        }
        co_await sender.join();
        co_await (*stream)->close(Closing::orderly);
    }
    co_await listener->stop();
}

TEST(UringStream, echoes_more_than_all_buffers_together_hold) {
    Ring ring;
    if (!ring.loop) {
        GTEST_SKIP() << "no io_uring here";
    }
    SocketAddress address;
    Listener listener(*ring.loop, listening(address), [&ring](int fd) {
        ring.scope->spawn(&echo, ring.loop.get(), fd);
    });
    listener.start();
    std::string sent(3'000'000, '\0');
    for (std::size_t i = 0; i < sent.size(); ++i) {
        sent[i] = static_cast<char>(i * 31 + i / 977);
    }
    std::string got;
    ring.scope->spawn(&client, &ring, address, sent, &got, &listener);
    ring.settle();
    EXPECT_TRUE(got == sent);
}

Task<void> connect_nowhere(Ring* ring, SocketAddress address, std::optional<ErrorKind>* kind) {
    ConnectRequest request{&ring->network, address};
    auto stream = co_await connect(*ring->loop, ring->sockets, request);
    if (stream) {
        co_await (*stream)->close(Closing::reset);
    } else {
        *kind = stream.error().kind;
    }
}

TEST(UringStream, a_refused_connection_says_so) {
    Ring ring;
    if (!ring.loop) {
        GTEST_SKIP() << "no io_uring here";
    }
    SocketAddress address;
    listening(address);  // closed at once
    std::optional<ErrorKind> kind;
    ring.scope->spawn(&connect_nowhere, &ring, address, &kind);
    ring.settle();
    EXPECT_EQ(kind, ErrorKind::refused);
}

}  // namespace
}  // namespace orlop::net
