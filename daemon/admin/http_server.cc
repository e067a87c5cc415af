#include "daemon/admin/http_server.h"

#include "daemon/base/limits.h"
#include "daemon/codec/h1/body.h"
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h1/writer.h"
#include "daemon/codec/uri.h"

#include <sys/socket.h>

#include <algorithm>

namespace orlop::admin {
namespace {

constexpr Duration idle_max = std::chrono::seconds(60);

int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = static_cast<char>(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Asked of the kernel, and TCP when in doubt: a connection must prove that it may do everything.
Entrance entrance_of(int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    bool known = ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0;
    return known && domain == AF_UNIX ? Entrance::unix_socket : Entrance::tcp;
}

struct Idle {
    net::Stream* stream;
    static void on_deadline(void* self) {
        static_cast<Idle*>(self)->stream->abort(
            Error{ErrorKind::timed_out, "idle admin connection", Side::internal, 0});
    }
};

runtime::Task<bool>
read_body(net::TcpStream& stream, const h1::MessageHead& head, std::string& body) {
    h1::BodyDecoder decoder(head);
    while (true) {
        h1::BodyStep step = decoder.next(stream.input());
        if (step.state == h1::BodyState::payload) {
            if (body.size() + step.payload.size() > limits::admin_request_bytes_max) {
                co_return false;
            }
            body.append(step.payload);
        }
        stream.consume(step.consumed);
        if (step.state == h1::BodyState::complete || decoder.complete()) {
            co_return true;
        }
        if (step.state == h1::BodyState::refused) {
            co_return false;
        }
        if (step.state == h1::BodyState::need_more) {
            auto arrived = co_await stream.more();
            if (!arrived || *arrived == 0) {
                co_return false;
            }
        }
    }
}

runtime::Task<bool>
send_response(net::TcpStream& stream, const Response& response, h1::ConnectionFate fate) {
    std::vector<char> room(1024);
    h1::HeadWriter writer(room);
    writer.status_line(static_cast<std::uint16_t>(response.status),
                       h1::status_text(static_cast<std::uint16_t>(response.status)));
    writer.field("content-type", response.content_type);
    if (fate == h1::ConnectionFate::close) {
        writer.field("connection", "close");
    }
    writer.framing(h1::Framing::length, response.body.size());
    auto head = writer.finish();
    if (!head) {
        co_return false;
    }
    std::string_view pieces[2] = {{room.data(), *head}, response.body};
    std::span<const std::string_view> all(pieces, response.body.empty() ? 1 : 2);
    auto written = co_await stream.write(all);
    co_return written.has_value() && fate == h1::ConnectionFate::keep_alive;
}

}  // namespace

std::string Request::parameter(std::string_view name) const {
    auto raw = uri::query_parameter(query, name);
    std::string out;
    for (std::size_t i = 0; raw && i < raw->size(); ++i) {
        char c = (*raw)[i];
        if (c == '%' && i + 2 < raw->size() && hex_value((*raw)[i + 1]) >= 0 &&
            hex_value((*raw)[i + 2]) >= 0) {
            out += static_cast<char>(hex_value((*raw)[i + 1]) * 16 + hex_value((*raw)[i + 2]));
            i += 2;
        } else {
            out += c == '+' ? ' ' : c;
        }
    }
    return out;
}

HttpServer::HttpServer(runtime::Loop& loop, runtime::Scope& scope, RequestHandler& handler)
    : loop_(loop), scope_(scope), handler_(handler) {}

void HttpServer::serve(int fd) {
    Entrance entrance = entrance_of(fd);
    auto stream = std::make_unique<net::TcpStream>(loop_, fd);
    if (open_.size() >= limits::admin_connections_max) {
        loop_.backend().set_close_style(fd, runtime::Backend::CloseStyle::reset);
        return;  // the stream's end closes it
    }
    scope_.spawn(&HttpServer::run, this, std::move(stream), entrance);
}

void HttpServer::end_all() {
    for (net::Stream* stream : open_) {
        stream->abort(Error{ErrorKind::cancelled, "shutting down", Side::internal, 0});
    }
}

runtime::Task<void>
HttpServer::run(HttpServer* server, std::unique_ptr<net::TcpStream> stream, Entrance entrance) {
    server->open_.push_back(stream.get());
    while (co_await server->serve_one(*stream, entrance)) {
    }
    std::erase(server->open_, stream.get());
    co_await stream->close(net::Closing::orderly);
}

runtime::Task<bool> HttpServer::serve_one(net::TcpStream& stream, Entrance entrance) {
    Idle idle{&stream};
    runtime::Timer deadline(&Idle::on_deadline, &idle);
    loop_.timers().set(deadline, loop_.now() + idle_max);
    h1::RequestHead head;
    h1::HeadScan scan;
    h1::ParseResult parsed;
    while (true) {
        parsed = h1::parse_request_head(stream.input(), head, scan, {h1::Http10::allow});
        if (parsed.state != h1::ParseState::need_more) {
            break;
        }
        auto arrived = co_await stream.more();
        if (!arrived || *arrived == 0) {
            co_return false;
        }
    }
    if (parsed.state == h1::ParseState::refused) {
        Response refusal{parsed.status(), std::string(parsed.text()) + "\n"};
        co_return co_await send_response(stream, refusal, h1::ConnectionFate::close);
    }
    Request request{std::string(head.method),
                    std::string(head.path),
                    std::string(head.query),
                    "",
                    stream.local_address().port,
                    entrance};
    bool keep_alive = head.keep_alive && head.version_minor == 1;
    stream.consume(parsed.consumed);
    if (!co_await read_body(stream, head, request.body)) {
        Response refusal{413, "request body refused: too large or badly framed\n"};
        co_return co_await send_response(stream, refusal, h1::ConnectionFate::close);
    }
    deadline.cancel();
    Response response = co_await handler_.handle(request);
    auto fate = keep_alive ? h1::ConnectionFate::keep_alive : h1::ConnectionFate::close;
    co_return co_await send_response(stream, response, fate);
}

}  // namespace orlop::admin
