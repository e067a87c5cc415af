// Stand-in for clientapp of tutorial 001: GETs ENDPOINT_URL every INTERVAL (default 200ms) for
// ever, or COUNT times, and prints one line per call and a running tally.
#include "tests/apps/http.h"

int main() {
    using namespace orlop::apps;
    const std::string url = env_or("ENDPOINT_URL", "http://localhost:5000/unstable-endpoint");
    const auto interval = parse_duration(env_or("INTERVAL", "200ms"));
    const long count = number_or(env_or("COUNT", "0"), 0);
    Connection connection(parse_url(url), Connection::Reuse::fresh);
    Call call;
    call.limit = std::chrono::seconds(10);
    long success = 0;
    long failure = 0;
    for (long i = 0; count == 0 || i < count; ++i) {
        const Answer answer = connection.call(call);
        const bool good = answer.outcome == Outcome::answered && answer.status < 400;
        ++(good ? success : failure);
        const std::string what =
            answer.outcome == Outcome::answered ? std::to_string(answer.status) : answer.error;
        log_line((good ? "Success: " : "Failure: ") + what + " (success " +
                 std::to_string(success) + ", failure " + std::to_string(failure) + ")");
        std::this_thread::sleep_for(interval);
    }
    return failure == 0 ? 0 : 1;
}
