// Stand-in for bookinfo's product page of tutorial 000: GET /productpage on port 9080 calls
// DETAILS_URL (default http://details:9080/details/0) with the application's own limit APP_LIMIT
// (default 30s). A failed call leaves the page at 200 with an apology in the details' place.
#include "tests/apps/http.h"

int main() {
    using namespace orlop::apps;
    const std::string url = env_or("DETAILS_URL", "http://details:9080/details/0");
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(
        parse_duration(env_or("APP_LIMIT", "30s")));
    serve(env_or("PORT", "9080"), [&](const Request& request, Response& response) {
        if (request.path == "/health") {
            response.body = "Product page is healthy\n";
            return;
        }
        const auto started = Clock::now();
        Connection connection(parse_url(url), Connection::Reuse::fresh);
        Call call;
        call.limit = limit;
        const Answer answer = connection.call(call);
        const bool good = answer.outcome == Outcome::answered && answer.status == 200;
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started);
        response.fields.emplace_back("Content-Type", "text/html");
        response.fields.emplace_back("X-Details-Status", std::to_string(answer.status));
        response.fields.emplace_back("X-Details-Millis", std::to_string(took.count()));
        response.body = "<h1>The Comedy of Errors</h1>\n";
        response.body += good ? "<p>Book Details: " + answer.body + "</p>\n"
                              : "<p>Error fetching product details!</p>\n"
                                "<p>Sorry, product details are currently unavailable for this "
                                "book.</p>\n";
        log_line(request.path + " details " + std::to_string(answer.status) + " after " +
                 std::to_string(took.count()) + " ms " + answer.error);
    });
}
