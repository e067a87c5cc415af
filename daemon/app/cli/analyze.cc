// analyze: findings about files, before anything is applied, or about what is in force.
#include "daemon/control/analyze.h"

#include "daemon/app/api_views.h"
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

int rank(const std::string& severity) {
    return severity == "error" ? 2 : severity == "warning" ? 1 : 0;
}

Result<json> analyze_files(Session& session, const std::vector<std::string>& files) {
    control::ObjectStore store;
    std::int64_t order = 0;  // files count as created in the order given
    for (const std::string& file : files) {
        auto text = read_input(session, file);
        if (!text) {
            return std::unexpected(text.error());
        }
        std::string name = file == "-" ? "<stdin>" : file;
        store.replace_source(
            name,
            control::decode_text(*text,
                                 {.file = name, .default_namespace = session.ns_or_default()}),
            ++order);
    }
    return findings_json(control::analyze(store));
}

Result<json> analyze_live(Session& session) {
    auto body = fetch(session, "/analyze");
    if (!body) {
        return std::unexpected(body.error());
    }
    auto parsed = parse_json(*body);
    return parsed ? Result<json>((*parsed)["findings"]) : parsed;
}

}  // namespace

int run_analyze(Session& session, const AnalyzeOptions& options) {
    auto findings =
        options.files.empty() ? analyze_live(session) : analyze_files(session, options.files);
    if (!findings) {
        return tell_error(session, findings.error());
    }
    int worst = -1;
    for (const json& finding : *findings) {
        worst = std::max(worst, rank(finding.value("severity", "")));
    }
    if (!print_structured(session, *findings)) {
        for (const json& finding : *findings) {
            fmt::print(session.out, "{}\n", finding.value("text", ""));
        }
        if (findings->empty()) {
            fmt::print(session.err, "No findings.\n");
        }
    }
    return worst >= rank(options.failure_threshold) ? exit_code::findings : exit_code::ok;
}

}  // namespace orlop::app::cli
