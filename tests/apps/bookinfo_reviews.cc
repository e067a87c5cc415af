// Stand-in for bookinfo's reviews service: GET /reviews/0 on port 9080.
//
//   bookinfo-reviews           v1: no stars
//   bookinfo-reviews COLOR     calls RATINGS_URL (default http://ratings:9080/ratings/0) with the
//                              application's own limit: 10 s for black stars (v2), 2.5 s for red
//                              ones (v3); without an answer an apology is in the stars' place
// RESPONSE_DELAY makes it slow.
#include "tests/apps/bookinfo.h"

namespace {

using namespace orlop::apps;

struct Settings {
    std::string color;  // empty: no ratings
    std::string url = env_or("RATINGS_URL", "http://ratings:9080/ratings/0");
    std::chrono::milliseconds limit =
        color == "black" ? std::chrono::milliseconds(10'000) : std::chrono::milliseconds(2'500);
    std::chrono::microseconds delay = parse_duration(env_or("RESPONSE_DELAY", "0s"));
    std::string pod = own_host_name();
};

// `"Reviewer1":5` in what ratings answered; 0 when it is not there.
long stars_of(const std::string& ratings, const std::string& reviewer) {
    const std::string key = json_quote(reviewer) + ":";
    const std::size_t at = ratings.find(key);
    return at == std::string::npos
               ? 0
               : number_or(std::string_view(ratings).substr(at + key.size()), 0);
}

std::string
one_review(const std::string& reviewer, const std::string& text, const std::string& rating) {
    return "{\"reviewer\": " + json_quote(reviewer) + ", \"text\": " + json_quote(text) +
           (rating.empty() ? "" : ", \"rating\": " + rating) + "}";
}

std::string rating(const Settings& settings, const Answer& ratings, const std::string& reviewer) {
    if (settings.color.empty()) {
        return "";
    }
    if (ratings.outcome != Outcome::answered || ratings.status != 200) {
        return "{\"error\": \"Ratings service is currently unavailable\"}";
    }
    return "{\"stars\": " + std::to_string(stars_of(ratings.body, reviewer)) +
           ", \"color\": " + json_quote(settings.color) + "}";
}

void answer(const Settings& settings, const Request& request, Response& response) {
    response.fields.emplace_back("Content-Type", "application/json");
    response.fields.emplace_back("X-Served-By", settings.pod);
    if (request.path == "/health") {
        response.body = "{\"status\": \"Reviews is healthy\"}\n";
        return;
    }
    log_line(request.method + " " + request.path + " host " + field(request.fields, "host") +
             " from " + request.peer);
    if (!request.path.starts_with("/reviews/")) {
        response.status = 404;
        return;
    }
    std::this_thread::sleep_for(settings.delay);
    Answer ratings;
    if (!settings.color.empty()) {
        ratings = fetch(settings.url, passed_on(request), settings.limit);
        log_line("ratings " + std::to_string(ratings.status) + " " + ratings.error);
    }
    response.body =
        "{\"id\": \"0\", \"podname\": " + json_quote(settings.pod) + ", \"reviews\": [" +
        one_review("Reviewer1",
                   "An extremely entertaining play by Shakespeare. The slapstick humour is "
                   "refreshing!",
                   rating(settings, ratings, "Reviewer1")) +
        ", " +
        one_review("Reviewer2",
                   "Absolutely fun and entertaining. The play lacks thematic depth when compared "
                   "to other plays by Shakespeare.",
                   rating(settings, ratings, "Reviewer2")) +
        "]}\n";
}

}  // namespace

int main(int argc, char** argv) {
    const Settings settings{.color = argc > 1 ? argv[1] : ""};
    serve(env_or("PORT", "9080"),
          [&](const Request& request, Response& response) { answer(settings, request, response); });
}
