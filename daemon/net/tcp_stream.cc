#include "daemon/net/tcp_stream.h"

#include <cassert>

namespace orlop::net {

using runtime::OpCode;
using runtime::Operation;

TcpStream::TcpStream(runtime::Loop& loop, int fd) : Stream(loop), fd_(fd), settled_(loop) {
    receive_.code = OpCode::receive;
    receive_.fd = fd;
    receive_.owner = this;
    receive_.on_complete = &TcpStream::on_received;
    send_.code = OpCode::send;
    send_.fd = fd;
    send_.owner = this;
    send_.on_complete = &TcpStream::on_sent;
}

TcpStream::~TcpStream() {
    assert(!receive_.in_flight && !send_.in_flight && "close() was not awaited");
    if (fd_ >= 0) {
        loop().backend().close(fd_);
    }
}

void TcpStream::start_receive() {
    loop().backend().start(receive_);
}

void TcpStream::on_received(Operation& operation) {
    auto& self = *static_cast<TcpStream*>(operation.owner);
    if (operation.result > 0) {
        self.choose_size(*operation.lent);
        self.deliver(*operation.lent);
    } else if (operation.result == 0) {
        self.end_input(std::nullopt);
    } else {
        self.end_input(system_error(-operation.result, "receive"));
    }
    self.settled_.set();  // last: who awaits close() may destroy the stream after the reader's turn
}

// A buffer filled to the brim says that more is waiting: the next receive takes a large one, until
// one arrives that an ordinary buffer would have held.
void TcpStream::choose_size(const runtime::LentBuffer& arrived) {
    bool bulk = arrived.size == arrived.capacity || arrived.size > limits::relay_buffer_bytes;
    receive_.size = bulk ? runtime::ReceiveSize::bulk : runtime::ReceiveSize::ordinary;
}

void TcpStream::start_send() {
    auto all = pieces();
    if (all.size() == 1) {
        send_.message.msg_iovlen = 0;
        send_.buffer = all[0].iov_base;
        send_.length = all[0].iov_len;
    } else {
        send_.message = {};
        send_.message.msg_iov = all.data();
        send_.message.msg_iovlen = all.size();
    }
    loop().backend().start(send_);
}

void TcpStream::on_sent(Operation& operation) {
    auto& self = *static_cast<TcpStream*>(operation.owner);
    self.sent(operation.result);
    self.settled_.set();  // last, as in on_received
}

void TcpStream::shutdown_write() {
    loop().backend().shutdown_write(fd_);
}

void TcpStream::cancel_operations() {
    loop().backend().cancel(receive_);
    loop().backend().cancel(send_);
}

runtime::Task<void> TcpStream::close(Closing closing) {
    watch_end(nullptr, nullptr);
    abort(Error{ErrorKind::cancelled, "closed by us", Side::internal, ECANCELED});
    while (receive_.in_flight || send_.in_flight) {
        settled_.clear();
        co_await settled_;
    }
    if (fd_ >= 0) {
        auto style = closing == Closing::orderly ? runtime::Backend::CloseStyle::orderly
                                                 : runtime::Backend::CloseStyle::reset;
        loop().backend().set_close_style(fd_, style);
        loop().backend().close(std::exchange(fd_, -1));
    }
}

}  // namespace orlop::net
