// TcpStream: a Stream over one connected TCP socket. Takes ownership of the descriptor.
#pragma once

#include "daemon/net/stream.h"
#include "daemon/runtime/event.h"

#include <memory>

namespace orlop::net {

class TcpStream final : public Stream {
public:
    TcpStream(runtime::Loop& loop, int fd);
    ~TcpStream() override;

    void shutdown_write() override;
    runtime::Task<void> close(Closing closing) override;
    int fd() const { return fd_; }
    SocketAddress local_address() { return loop().backend().local_address(fd_); }
    SocketAddress peer_address() { return loop().backend().peer_address(fd_); }

private:
    void start_receive() override;
    void start_send() override;
    void cancel_operations() override;
    bool receive_in_flight() const override { return receive_.in_flight; }
    bool send_in_flight() const override { return send_.in_flight; }
    void choose_size(const runtime::LentBuffer& arrived);
    static void on_received(runtime::Operation& operation);
    static void on_sent(runtime::Operation& operation);

    int fd_;
    runtime::Operation receive_;
    runtime::Operation send_;
    runtime::Event settled_;
};

}  // namespace orlop::net
