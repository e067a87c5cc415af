// Stand-in for bookinfo's ratings service: GET /ratings/0 on port 9080; prints one line per request
// as the original does. BROKEN=true is the instance of tutorial 004 that answers 500 to everything;
// RESPONSE_DELAY makes it slow.
#include "tests/apps/bookinfo.h"

int main() {
    using namespace orlop::apps;
    const bool broken = env_or("BROKEN", "false") == "true";
    const auto delay = parse_duration(env_or("RESPONSE_DELAY", "0s"));
    const std::string where = env_or("PORT", "9080");
    std::printf("Server listening on: http://0.0.0.0:%s\n", where.c_str());
    std::fflush(stdout);
    serve(where, [&](const Request& request, Response& response) {
        const std::string line = request.method + " " + request.path + "\n";
        [[maybe_unused]] const ssize_t written = ::write(1, line.data(), line.size());
        std::this_thread::sleep_for(delay);
        response.fields.emplace_back("Content-Type", "application/json");
        if (broken) {
            response.status = 500;
            response.body = "{\"error\":\"Internal Server Error\"}\n";
        } else if (request.path == "/health") {
            response.body = "{\"status\":\"Ratings is healthy\"}\n";
        } else if (request.path.starts_with("/ratings/")) {
            response.body = "{\"id\":0,\"ratings\":{\"Reviewer1\":5,\"Reviewer2\":4}}\n";
        } else {
            response.status = 404;
        }
    });
}
