// What the load generator is asked to do; parsed once from the command line.
#pragma once

#include "bench/load/cpu_watch.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace orlop::bench {

enum class Traffic : unsigned char {
    keepalive,  // HTTP/1.1, connections are kept
    connect,    // HTTP/1.1, one connection per request
    h2,         // HTTP/2 by prior knowledge, `streams` requests at once on each connection
    echo,       // raw TCP, message_bytes there and back
};

// Where one connection goes, when they do not all go to the same place.
struct Target {
    std::string address;
    std::string host;
    std::string severed;  // the peer of the mesh's connections that belong to it, see sever_port
};

struct Options {
    std::string address;  // IPv4 or IPv6, no name
    std::uint16_t port = 0;
    std::string host = "server";  // Host header
    std::string path = "/";
    Traffic traffic = Traffic::keepalive;
    int connections = 64;
    int streams = 1;        // of each connection; more than one only in HTTP/2
    double rate_per_s = 0;  // 0: closed loop
    double seconds = 3;
    double warmup_s = 1;
    std::int64_t slice_ms = 0;        // also tell count and p99 of every slice of the window; 0: no
    std::int64_t reply_bytes = 1024;  // every reply must have this length
    std::int64_t message_bytes = 64;  // of echo
    bool check_content = false;       // compare the body with the backend's pattern
    std::vector<Target> targets;      // --target ADDRESS,HOST,SEVERED; connection i has target i
    std::vector<WatchedGroup> groups;  // --watch NAME=PID,PID
    int sever_port = 0;                // destroy connections to it after every reply; 0: none
    std::string counter_file;          // of alloc_count.c, read at both ends of the window
};

// The error is one line for the terminal.
std::expected<Options, std::string> parse_options(int argc, char** argv);

}  // namespace orlop::bench
