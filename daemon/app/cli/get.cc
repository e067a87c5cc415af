// get and describe: objects, with what the mesh thinks of them.
#include "daemon/app/api_apply.h"
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"

#include <fmt/core.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

Result<json> fetch_objects(Session& session, const KindAndName& wanted, const std::string& ns) {
    std::string kind = wanted.kind == "all" ? "" : wanted.kind;
    auto body = fetch(session,
                      fmt::format("/objects?kind={}&namespace={}&name={}",
                                  percent_encode(kind),
                                  percent_encode(ns),
                                  percent_encode(wanted.name)));
    if (!body) {
        return std::unexpected(body.error());
    }
    auto parsed = parse_json(*body);
    if (!parsed) {
        return parsed;
    }
    return (*parsed)["objects"];
}

std::string hosts_of(const json& object) {
    const json spec =
        object.contains("object") ? object["object"].value("spec", json::object()) : json::object();
    if (!spec.is_object()) {
        return "";
    }
    std::string out;
    if (spec.contains("hosts") && spec["hosts"].is_array()) {
        for (const json& host : spec["hosts"]) {
            out += host.is_string() ? (out.empty() ? "" : ",") + host.get<std::string>() : "";
        }
    } else if (spec.contains("host") && spec["host"].is_string()) {
        out = spec["host"];
    } else if (spec.contains("mtls") && spec["mtls"].is_object()) {
        out = spec["mtls"].value("mode", "");
    }
    return out;
}

// As written, one document each: what `apply -f` takes.
std::string yaml_documents(const json& objects) {
    std::string out;
    for (const json& object : objects) {
        std::string yaml = object.value("yaml", "");
        if (yaml.empty()) {
            yaml = yaml_text({{"kind", object.value("kind", "")},
                              {"metadata",
                               {{"name", object.value("name", "")},
                                {"namespace", object.value("namespace", "")}}}});
        }
        out += (out.empty() ? "" : "---\n") + yaml + (yaml.ends_with('\n') ? "" : "\n");
    }
    return out;
}

void print_table(Session& session, const json& objects) {
    Table table({"NAMESPACE", "KIND", "NAME", "HOSTS", "STATE", "FINDINGS", "AGE", "SOURCE"});
    std::int64_t now = now_ns();
    for (const json& object : objects) {
        std::size_t findings = object["findings"].size();
        table.add({object.value("namespace", ""),
                   object.value("kind", ""),
                   object.value("name", ""),
                   hosts_of(object),
                   object.value("state", ""),
                   findings == 0 ? "" : std::to_string(findings),
                   age_of(object.value("createdNs", std::int64_t{0}), now),
                   fmt::format("{}:{}", object.value("file", ""), object.value("line", 0))});
    }
    fmt::print(session.out, "{}", table.render());
}

}  // namespace

int run_get(Session& session, const GetOptions& options) {
    auto words = split_object_words(options.words);
    if (!words) {
        return tell_error(session, words.error().context, exit_code::usage);
    }
    std::string ns = options.all_namespaces ? "" : session.ns;
    auto objects = fetch_objects(session, *words, ns);
    if (!objects) {
        return tell_error(session, objects.error());
    }
    if (objects->empty()) {
        std::string where = ns.empty() ? "any namespace" : "namespace " + ns;
        std::string what = words->name.empty() ? words->kind : words->kind + "/" + words->name;
        fmt::print(session.err, "No {} found in {}.\n", what, where);
        if (session.output == Output::json && words->name.empty()) {
            fmt::print(session.out, "[]\n");
        }
        return words->name.empty() ? exit_code::ok : exit_code::failed;
    }
    if (session.output == Output::json) {
        fmt::print(session.out, "{}", json_text(*objects));
    } else if (session.output == Output::yaml) {
        fmt::print(session.out, "{}", yaml_documents(*objects));
    } else {
        print_table(session, *objects);
    }
    return exit_code::ok;
}

namespace {

void describe_one(Session& session, const json& object) {
    std::int64_t created = object.value("createdNs", std::int64_t{0});
    fmt::print(session.out,
               "Name:       {}\nNamespace:  {}\nKind:       {}\n",
               object.value("name", ""),
               object.value("namespace", ""),
               object.value("kind", ""));
    if (object.contains("apiVersion")) {
        fmt::print(session.out, "API:        {}\n", object.value("apiVersion", ""));
    }
    fmt::print(session.out,
               "State:      {}\nSource:     {}:{}\nAge:        {}\n",
               object.value("state", ""),
               object.value("file", ""),
               object.value("line", 0),
               age_of(created, now_ns()));
    if (object.contains("labels") && !object["labels"].empty()) {
        std::string text;
        for (const auto& [key, value] : object["labels"].items()) {
            text += (text.empty() ? "" : ",") + key + "=" + value.get<std::string>();
        }
        fmt::print(session.out, "Labels:     {}\n", text);
    }
    fmt::print(session.out, "Findings:  {}\n", object["findings"].empty() ? " none" : "");
    for (const json& finding : object["findings"]) {
        fmt::print(session.out, "  {}\n", finding.value("text", ""));
    }
    std::string yaml = object.value("yaml", "");
    if (!yaml.empty()) {
        fmt::print(session.out, "In force:\n");
        for (std::size_t at = 0; at < yaml.size();) {
            std::size_t end = std::min(yaml.find('\n', at), yaml.size());
            fmt::print(session.out, "  {}\n", yaml.substr(at, end - at));
            at = end + 1;
        }
    }
}

}  // namespace

int run_describe(Session& session, const GetOptions& options) {
    auto words = split_object_words(options.words);
    if (!words) {
        return tell_error(session, words.error().context, exit_code::usage);
    }
    auto objects = fetch_objects(session, *words, session.ns);
    if (!objects) {
        return tell_error(session, objects.error());
    }
    if (objects->empty()) {
        return tell_error(session,
                          words->kind + " " + words->name + " not found; see orlopctl get " +
                              words->kind + " -A");
    }
    if (print_structured(session, *objects)) {
        return exit_code::ok;
    }
    bool first = true;
    for (const json& object : *objects) {
        fmt::print(session.out, "{}", first ? "" : "\n");
        first = false;
        describe_one(session, object);
    }
    return exit_code::ok;
}

}  // namespace orlop::app::cli
