// Stand-in for bookinfo's details service of tutorial 000: GET /details/0 on port 9080.
//
// HANG_FIRST_CALL=1 is the bad release: the first call of the process is answered only after
// HANG_FOR (default 60s); every later one at once. GET /health always answers.
#include "tests/apps/http.h"

#include <atomic>

int main() {
    using namespace orlop::apps;
    const bool bad = env_or("HANG_FIRST_CALL", "0") != "0";
    const auto hang_for = parse_duration(env_or("HANG_FOR", "60s"));
    std::atomic<unsigned long> calls{0};
    serve(env_or("PORT", "9080"), [&](const Request& request, Response& response) {
        response.fields.emplace_back("Content-Type", "application/json");
        if (request.path == "/health") {
            response.body = "{\"status\":\"Details is healthy\"}\n";
            return;
        }
        const unsigned long call = ++calls;
        log_line("call " + std::to_string(call) + " " + request.method + " " + request.path +
                 " from " + request.peer);
        if (bad && call == 1) {
            std::this_thread::sleep_for(hang_for);
        }
        response.body =
            "{\"id\":0,\"author\":\"William Shakespeare\",\"year\":1595,\"type\":\"paperback\","
            "\"pages\":200,\"publisher\":\"PublisherA\",\"language\":\"English\","
            "\"ISBN-10\":\"1234567890\",\"ISBN-13\":\"123-1234567890\"}\n";
        log_line("call " + std::to_string(call) + " answered");
    });
}
