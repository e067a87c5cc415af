// LiveStreams: the open connections of one pod, so that they can be counted and cut.
// A LiveStream registers a stream for as long as it lives. One core.
#pragma once

#include "daemon/net/stream.h"
#include "daemon/runtime/task.h"

#include <cstddef>

namespace orlop::proxy {

class LiveStreams;

class LiveStream {
public:
    LiveStream(LiveStreams& list, net::Stream& stream);
    LiveStream(const LiveStream&) = delete;
    LiveStream& operator=(const LiveStream&) = delete;
    ~LiveStream();
    // Between two requests: a drain may end the connection here without hurting anyone.
    void between_requests(net::Stream* idle) { idle_ = idle; }

private:
    friend class LiveStreams;
    LiveStreams& list_;
    net::Stream* idle_ = nullptr;
    net::Stream& stream_;
    LiveStream* next_ = nullptr;
    LiveStream* previous_ = nullptr;
};

class LiveStreams {
public:
    std::size_t size() const { return size_; }
    void interrupt_idle() {
        for (LiveStream* one = head_; one != nullptr; one = one->next_) {
            if (one->idle_ != nullptr) {
                one->idle_->interrupt_reader();
            }
        }
    }
    void abort_all(const Error& error) {
        for (LiveStream* one = head_; one != nullptr; one = one->next_) {
            one->stream_.abort(error);
        }
    }

private:
    friend class LiveStream;
    LiveStream* head_ = nullptr;
    std::size_t size_ = 0;
};

inline LiveStream::LiveStream(LiveStreams& list, net::Stream& stream)
    : list_(list), stream_(stream), next_(list.head_) {
    if (next_ != nullptr) {
        next_->previous_ = this;
    }
    list.head_ = this;
    ++list.size_;
}

inline LiveStream::~LiveStream() {
    (previous_ != nullptr ? previous_->next_ : list_.head_) = next_;
    if (next_ != nullptr) {
        next_->previous_ = previous_;
    }
    --list_.size_;
}

}  // namespace orlop::proxy
