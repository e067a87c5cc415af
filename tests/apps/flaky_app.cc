// Stand-in for appflaky of tutorial 001: GET /unstable-endpoint answers 500 with probability
// FAIL_PERCENT (default 50), else 200, at once. PORT defaults to 5000.
#include "tests/apps/http.h"

#include <mutex>

int main() {
    using namespace orlop::apps;
    Dice dice;
    std::mutex mutex;
    const double rate = std::strtod(env_or("FAIL_PERCENT", "50").c_str(), nullptr) / 100;
    serve(env_or("PORT", "5000"), [&](const Request& request, Response& response) {
        response.fields.emplace_back("Content-Type", "application/json");
        if (!request.path.starts_with("/unstable-endpoint")) {
            response.status = request.path == "/" || request.path == "/health" ? 200 : 404;
            response.body = "{\"message\": \"appflaky\"}\n";
            return;
        }
        double draw = 0;
        {
            const std::lock_guard lock(mutex);
            draw = dice.roll();
        }
        response.status = draw < rate ? 500 : 200;
        response.body = response.status == 200 ? "{\"message\": \"Success\"}\n"
                                               : "{\"error\": \"Internal Server Error\"}\n";
        log_line("GET " + request.path + " " + std::to_string(response.status) + " from " +
                 request.peer);
    });
}
