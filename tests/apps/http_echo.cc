// Answers what it was asked, as text: request line, headers, peer and own address, body.
//
//   /status/NNN   that status            /delay/MS    after MS milliseconds
//   /bytes/N      N bytes                /chunked/N   N bytes in chunks
//   /trailers     chunked, with trailers /close       body ended by closing
//   /echo         the request's body alone
// PORT defaults to 8080; NAME is part of every answer (X-Served-By).
#include "tests/apps/http.h"

namespace {

using namespace orlop::apps;

std::size_t number_after(const std::string& path, std::string_view prefix) {
    const std::size_t number = std::strtoul(path.c_str() + prefix.size(), nullptr, 10);
    return std::min<std::size_t>(number, 64U * 1024 * 1024);
}

std::string report(const Request& request) {
    return request.method + " " + request.path + " " + request.version + "\n" +
           "peer: " + request.peer + "\n" + field_lines(request.fields) + "\n" + request.body +
           (request.trailers.empty() ? "" : "\ntrailers:\n" + field_lines(request.trailers));
}

void handle(const Request& request, Response& response, const std::string& name) {
    const std::string& path = request.path;
    response.fields.emplace_back("X-Served-By", name);
    response.fields.emplace_back("Content-Type", "text/plain");
    if (path.starts_with("/status/")) {
        response.status = static_cast<int>(number_after(path, "/status/"));
        response.body = "status " + std::to_string(response.status) + "\n";
    } else if (path.starts_with("/delay/")) {
        std::this_thread::sleep_for(std::chrono::milliseconds(number_after(path, "/delay/")));
        response.body = "late\n";
    } else if (path.starts_with("/bytes/")) {
        response.body.assign(number_after(path, "/bytes/"), 'x');
    } else if (path.starts_with("/chunked/")) {
        response.body.assign(number_after(path, "/chunked/"), 'x');
        response.framing = Framing::chunked;
    } else if (path == "/trailers") {
        response.body = "with trailers\n";
        response.framing = Framing::chunked;
        response.trailers = {{"X-Checksum", "42"}, {"X-Done", "yes"}};
        response.fields.emplace_back("Trailer", "X-Checksum, X-Done");
    } else if (path == "/close") {
        response.body = "until the end\n";
        response.framing = Framing::close;
    } else if (path == "/echo") {
        response.body = request.body;
    } else {
        response.body = report(request);
    }
}

}  // namespace

int main() {
    const std::string name = env_or("NAME", env_or("HOSTNAME", "http-echo"));
    serve(env_or("PORT", "8080"), [&name](const Request& request, Response& response) {
        handle(request, response, name);
        log_line(request.method + " " + request.path + " " + std::to_string(response.status) +
                 " from " + request.peer);
    });
}
