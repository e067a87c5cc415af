// Stand-in for bookinfo's product page: GET /productpage on port 9080 calls DETAILS_URL with the
// application's own limit APP_LIMIT (default 30s, as in tutorial 000), then REVIEWS_URL with 3 s
// and one retry of its own (tutorials 003, 004). A part that failed leaves the page at 200 with an
// apology in its place. POST /login with username=NAME signs a user in: the cookie user=NAME, which
// travels on together with the header end-user. An end-user header of the caller does not.
// PAGE_TIME is what drawing the page takes.
#include "tests/apps/bookinfo.h"

namespace {

using namespace orlop::apps;

struct Settings {
    std::string details = env_or("DETAILS_URL", "http://details:9080/details/0");
    std::string reviews = env_or("REVIEWS_URL", "http://reviews:9080/reviews/0");
    std::chrono::milliseconds details_limit = limit_of("APP_LIMIT", "30s");
    std::chrono::milliseconds reviews_limit = limit_of("REVIEWS_LIMIT", "3s");
    std::chrono::microseconds page_time = parse_duration(env_or("PAGE_TIME", "0s"));
};

constexpr int reviews_tries = 2;

// The value of a cookie, empty without it.
std::string cookie(const Request& request, const std::string& name) {
    const std::string all = "; " + field(request.fields, "cookie");
    const std::size_t at = all.find("; " + name + "=");
    if (at == std::string::npos) {
        return "";
    }
    const std::size_t start = at + name.size() + 3;
    return all.substr(start, all.find(';', start) - start);
}

void log_in(const Request& request, Response& response) {
    const std::string form = "&" + request.body;
    const std::size_t at = form.find("&username=");
    const std::size_t start = at + sizeof "&username=" - 1;
    const std::string user =
        at == std::string::npos ? "" : form.substr(start, form.find('&', start) - start);
    response.status = 302;
    response.fields.emplace_back("Location", "/productpage");
    response.fields.emplace_back("Set-Cookie", "user=" + user + "; Path=/");
}

std::chrono::milliseconds since(Clock::time_point started) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started);
}

bool good(const Answer& answer) {
    return answer.outcome == Outcome::answered && answer.status == 200;
}

void show(Response& response, const char* part, const Answer& answer, Clock::time_point started) {
    const std::string head = std::string("X-") + part;
    response.fields.emplace_back(head + "-Status", std::to_string(answer.status));
    response.fields.emplace_back(head + "-Millis", std::to_string(since(started).count()));
}

std::string details_part(const Settings& settings, const Fields& fields, Response& response) {
    const auto started = Clock::now();
    const Answer answer = fetch(settings.details, fields, settings.details_limit);
    show(response, "Details", answer, started);
    return good(answer)
               ? "<p>Book Details: " + answer.body + "</p>\n"
               : "<p>Error fetching product details!</p>\n"
                 "<p>Sorry, product details are currently unavailable for this book.</p>\n";
}

std::string reviews_part(const Settings& settings, const Fields& fields, Response& response) {
    const auto started = Clock::now();
    Answer answer;
    int tries = 0;
    while (tries < reviews_tries && !good(answer)) {
        answer = fetch(settings.reviews, fields, settings.reviews_limit);
        ++tries;
    }
    show(response, "Reviews", answer, started);
    response.fields.emplace_back("X-Reviews-Tries", std::to_string(tries));
    return good(answer)
               ? "<p>Book Reviews: " + answer.body + "</p>\n"
               : "<p>Error fetching product reviews!</p>\n"
                 "<p>Sorry, product reviews are currently unavailable for this book.</p>\n";
}

void draw(const Settings& settings, const Request& request, Response& response) {
    const std::string user = cookie(request, "user");
    Fields fields = passed_on(request);
    replace(fields, "end-user", user);
    std::this_thread::sleep_for(settings.page_time);
    response.fields.emplace_back("Content-Type", "text/html");
    response.body = "<h1>The Comedy of Errors</h1>\n";
    response.body += details_part(settings, fields, response);
    response.body += reviews_part(settings, fields, response);
    log_line(request.path + " for " + (user.empty() ? "anybody" : user) + ": details " +
             field(response.fields, "X-Details-Status") + " after " +
             field(response.fields, "X-Details-Millis") + " ms, reviews " +
             field(response.fields, "X-Reviews-Status") + " after " +
             field(response.fields, "X-Reviews-Millis") + " ms");
}

}  // namespace

int main() {
    const Settings settings;
    serve(env_or("PORT", "9080"), [&](const Request& request, Response& response) {
        if (request.path == "/health") {
            response.body = "Product page is healthy\n";
        } else if (request.path == "/login" && request.method == "POST") {
            log_in(request, response);
        } else {
            draw(settings, request, response);
        }
    });
}
