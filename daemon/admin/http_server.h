// A small HTTP/1.1 server for the control thread: admin socket, metrics, readiness.
//
// Each connection is a coroutine in the caller's Scope. Requests are bounded by
// limits::admin_request_bytes_max; a connection that is silent for a minute is closed. Never runs
// on a data core.
//
//     HttpServer server(loop, scope, api);   // api: a RequestHandler that outlives it
//     server.serve(fd);   // an accepted connection
#pragma once

#include "daemon/net/tcp_stream.h"
#include "daemon/runtime/scope.h"

#include <string>
#include <vector>

namespace orlop::admin {

// Where a connection came in: the Unix socket's mode lets only its owner in.
enum class Entrance : unsigned char { tcp, unix_socket };

struct Request {
    std::string method;
    std::string path;   // without query
    std::string query;  // raw
    std::string body;
    std::uint16_t local_port = 0;  // TCP port it arrived on; 0 on the Unix socket
    Entrance entrance = Entrance::tcp;

    // Percent-decoded value of a query parameter; empty when absent.
    std::string parameter(std::string_view name) const;
};

struct Response {
    int status = 200;
    std::string body;
    std::string content_type = "text/plain; charset=utf-8";
};

class RequestHandler {
public:
    virtual ~RequestHandler() = default;
    virtual runtime::Task<Response> handle(const Request& request) = 0;
};

class HttpServer {
public:
    HttpServer(runtime::Loop& loop, runtime::Scope& scope, RequestHandler& handler);

    void serve(int fd);
    void end_all();  // cuts open connections, for shutdown
    std::size_t open_connections() const { return open_.size(); }

private:
    static runtime::Task<void>
    run(HttpServer* server, std::unique_ptr<net::TcpStream> stream, Entrance entrance);
    runtime::Task<bool> serve_one(net::TcpStream& stream, Entrance entrance);

    runtime::Loop& loop_;
    runtime::Scope& scope_;
    RequestHandler& handler_;
    std::vector<net::Stream*> open_;
};

}  // namespace orlop::admin
