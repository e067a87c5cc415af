// What the stand-ins of bookinfo share: which header fields an application passes on.
#pragma once

#include "tests/apps/http.h"

#include <iterator>

namespace orlop::apps {

// As the original's applications: trace context, identity and what the login left in the browser.
inline Fields passed_on(const Request& request) {
    constexpr const char* names[] = {"x-request-id",
                                     "x-b3-traceid",
                                     "x-b3-spanid",
                                     "x-b3-parentspanid",
                                     "x-b3-sampled",
                                     "x-b3-flags",
                                     "b3",
                                     "traceparent",
                                     "tracestate",
                                     "cookie",
                                     "authorization",
                                     "user-agent",
                                     "end-user"};
    Fields kept;
    for (const char* name : names) {
        if (std::string value = field(request.fields, name); !value.empty()) {
            kept.emplace_back(name, std::move(value));
        }
    }
    return kept;
}

inline void replace(Fields& fields, const std::string& name, const std::string& value) {
    std::erase_if(fields, [&](const auto& each) { return same_name(each.first, name); });
    if (!value.empty()) {
        fields.emplace_back(name, value);
    }
}

// One call with a connection of its own.
inline Answer fetch(const std::string& url, Fields fields, std::chrono::milliseconds limit) {
    Connection connection(parse_url(url), Connection::Reuse::fresh);
    Call call;
    call.fields = std::move(fields);
    call.limit = limit;
    return connection.call(call);
}

inline std::chrono::milliseconds limit_of(const char* name, const std::string& fallback) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
        parse_duration(env_or(name, fallback)));
}

inline std::string own_host_name() {
    char name[256] = "";
    ::gethostname(name, sizeof name - 1);
    return name;
}

}  // namespace orlop::apps
