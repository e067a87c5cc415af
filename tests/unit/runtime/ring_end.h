// A backend on the kernel's ring that owns one end of a socket pair; the test holds the other.
#pragma once

#include "daemon/runtime/uring_backend.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <unistd.h>

namespace orlop::runtime {

// Small, so that a few operations fill it.
inline UringOptions small_ring() {
    UringOptions options;
    options.entries = 64;
    options.completions = 256;
    options.buffers = 8;
    options.buffer_bytes = 4096;
    options.bulk_buffers = 4;
    return options;
}

class RingEnd : public testing::Test {
protected:
    static constexpr unsigned polls_max = 1000;

    void TearDown() override {
        hang_up();
        if (operation_.fd >= 0) {
            backend_->close(operation_.fd);
            backend_->poll(Backend::Wait::no, {});
        }
    }
    void open(const UringOptions& options) {
        auto backend = create_uring_backend(options, nullptr);
        ASSERT_TRUE(backend) << backend.error().context;
        backend_ = std::move(*backend);
    }
    // A fresh pair, and the operation on the backend's end of it.
    void connect(OpCode code, Operation::Callback on_complete) {
        int ends[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        peer_ = ends[1];
        operation_ = {};
        operation_.code = code;
        operation_.fd = ends[0];
        operation_.owner = this;
        operation_.on_complete = on_complete;
    }
    void hang_up() {
        if (peer_ >= 0) {
            ::close(peer_);
            peer_ = -1;
        }
    }
    void look() { backend_->poll(Backend::Wait::no, {}); }

    std::unique_ptr<Backend> backend_;
    Operation operation_;
    int peer_ = -1;
    unsigned told_ = 0;
};

}  // namespace orlop::runtime
