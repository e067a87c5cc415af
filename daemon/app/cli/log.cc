// log, logs, explain: what orlopd says, and what it said about requests.
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"
#include "daemon/app/log_target.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <poll.h>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

constexpr int follow_interval_ms = 300;

struct Lines {
    std::vector<std::pair<std::int64_t, std::string>> list;  // time in ns, text
    std::string access_log;
};

// From every node that knows the pod: the caller's node has the line.
Result<Lines> fetch_lines(Session& session, const std::string& pod, std::int64_t since) {
    Lines all;
    Error last{ErrorKind::not_found, "no orlopd answered"};
    bool any = false;
    std::string target = fmt::format("/logs?pod={}&since={}", percent_encode(pod), since);
    for (const std::string& socket : find_sockets(session)) {
        auto answer = ask(socket, "GET", target);
        if (!answer || answer->status != 200) {
            last = answer ? Error{ErrorKind::not_found, refusal_of(*answer)} : answer.error();
            continue;
        }
        auto body = parse_json(answer->body);
        if (!body) {
            return std::unexpected(body.error());
        }
        any = true;
        all.access_log = body->value("accessLog", "");
        for (const json& line : (*body)["lines"]) {
            all.list.emplace_back(line.value("atNs", std::int64_t{0}), line.value("text", ""));
        }
    }
    if (!any) {
        return std::unexpected(last);
    }
    std::ranges::sort(all.list);
    return all;
}

}  // namespace

int run_log(Session& session, const LogOptions& options) {
    if (options.words.size() > 2) {
        return tell_error(session, "log wants LEVEL or COMPONENT LEVEL", exit_code::usage);
    }
    if (options.words.empty()) {
        auto levels = fetch(session, "/log");
        if (!levels) {
            return tell_error(session, levels.error());
        }
        fmt::print(session.out, "{}", *levels);
        return exit_code::ok;
    }
    std::string component = options.words.size() == 2 ? options.words[0] : "all";
    std::string target = fmt::format("/log?component={}&level={}",
                                     percent_encode(component),
                                     percent_encode(options.words.back()));
    int code = exit_code::ok;
    for (const std::string& socket : find_sockets(session)) {
        auto answer = ask(socket, "POST", target);
        if (!answer) {
            code = tell_error(session, answer.error());
        } else if (answer->status != 200) {
            code = tell_error(session, refusal_of(*answer), exit_code::usage);
        } else {
            fmt::print(session.out, "{}", answer->body);
        }
    }
    return code;
}

int run_logs(Session& session, const LogsOptions& options) {
    std::string pod = log_target(options.pod, session.ns_or_default());
    std::int64_t since = 0;
    auto lines = fetch_lines(session, pod, since);
    if (lines && lines->list.empty() && lines->access_log == "off") {
        fmt::print(session.err,
                   "orlopctl: the access log is off; apply a MeshConfig with "
                   "spec.accessLog: text or json\n");
    }
    while (true) {
        if (!lines) {
            return tell_error(session, lines.error());
        }
        for (const auto& [at, text] : lines->list) {
            fmt::print(session.out, "{}\n", text);
            since = std::max(since, at);
        }
        std::fflush(session.out);
        if (!options.follow) {
            return exit_code::ok;
        }
        ::poll(nullptr, 0, follow_interval_ms);
        lines = fetch_lines(session, pod, since);
    }
}

int run_explain(Session& session, const std::string& id) {
    Error last{ErrorKind::not_found, "no orlopd answered"};
    for (const std::string& socket : find_sockets(session)) {
        auto answer = ask(socket, "GET", "/explain?id=" + percent_encode(id));
        if (!answer) {
            last = answer.error();
            continue;
        }
        if (answer->status != 200) {
            last = Error{ErrorKind::not_found, refusal_of(*answer)};
            continue;
        }
        if (!print_structured(session, {{"id", id}, {"explanation", answer->body}})) {
            fmt::print(session.out, "{}{}", answer->body, answer->body.ends_with('\n') ? "" : "\n");
        }
        return exit_code::ok;
    }
    return tell_error(session, last);
}

}  // namespace orlop::app::cli
