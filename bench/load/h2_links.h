// The connections of an HTTP/2 load: each carries Options::streams slots, numbered through. What
// requests and replies cause to be sent is written once per turn of the loop, by flush().
#pragma once

#include "bench/load/h2_client.h"
#include "bench/load/options.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace orlop::bench {

class H2Links {
public:
    explicit H2Links(const Options& options);
    ~H2Links();
    H2Links(const H2Links&) = delete;
    H2Links& operator=(const H2Links&) = delete;

    // Calls of a descriptor's readiness carry its link's number in epoll_event::data.u64.
    void open(int epoll);
    void request(std::size_t slot);
    void on_ready(std::size_t link, std::span<char> buffer, const H2Client::OnReply& on_reply);
    void flush();
    const std::string& error() const { return error_; }

private:
    struct Link {
        H2Client client;
        int fd = -1;
        bool connected = false;
        bool wants_write = true;
        bool dirty = false;
    };

    void write_out(Link& link);
    void watch(Link& link);
    void fail(const std::string& what, int error);

    const Options& options_;
    std::vector<Link> links_;
    std::vector<std::size_t> dirty_;
    std::string error_;
    int epoll_ = -1;
};

}  // namespace orlop::bench
