// Stand-in for a Zipkin or OTLP collector: takes what is posted to it on port 9411 and prints each
// body as one line.
#include "tests/apps/http.h"

int main() {
    using namespace orlop::apps;
    serve(env_or("PORT", "9411"), [](const Request& request, Response& response) {
        std::string line = request.body;
        std::replace(line.begin(), line.end(), '\n', ' ');
        line += '\n';
        [[maybe_unused]] const ssize_t written = ::write(1, line.data(), line.size());
        response.status = request.method == "POST" ? 202 : 405;
    });
}
