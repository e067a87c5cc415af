// apply and delete: to orlopd, and in a lab each document to whom it belongs.
#include "daemon/app/api_apply.h"
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/documents.h"
#include "daemon/app/cli/table.h"
#include "daemon/lab/lab.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

enum class Verb : unsigned char { apply, remove };
enum class Mode : unsigned char { real, dry_run };

std::string target_of(const Session& session, Verb verb, Mode mode, const std::string& file) {
    return fmt::format("/{}?file={}&namespace={}{}",
                       verb == Verb::apply ? "apply" : "delete",
                       percent_encode(file),
                       percent_encode(session.ns_or_default()),
                       mode == Mode::dry_run ? "&dry-run=true" : "");
}

// Results on `out`, warnings and errors on `err`.
int print_results(Session& session, const Answer& answer) {
    auto body = parse_json(answer.body);
    if (!body || !body->is_object() || !body->contains("results")) {
        return tell_error(session, refusal_of(answer));
    }
    for (const json& warning : (*body)["warnings"]) {
        fmt::print(session.err, "Warning: {}\n", warning.value("text", ""));
    }
    for (const json& error : (*body)["errors"]) {
        fmt::print(session.err, "{}\n", error.value("text", ""));
    }
    if (answer.status != 200) {
        fmt::print(session.err, "orlopctl: refused; nothing was changed\n");
        return exit_code::bad_data;
    }
    if (print_structured(session, *body)) {
        return exit_code::ok;
    }
    int code = exit_code::ok;
    for (const json& result : (*body)["results"]) {
        std::string action = result.value("action", "");
        bool talk = action == "ignored" || action == "not found";
        const char* why = action == "ignored" ? ": not an object of the mesh" : "";
        fmt::print(
            talk ? session.err : session.out, "{} {}{}\n", result.value("object", ""), action, why);
        code = action == "not found" ? exit_code::failed : code;
    }
    return code;
}

// Other nodes see the files by themselves, a moment later; after this they have them in force.
void refresh_others(const Session& session, const std::string& but) {
    for (const std::string& socket : lab_sockets(session)) {
        if (socket != but) {
            (void)ask(socket, "POST", "/refresh");
        }
    }
}

int to_daemon(Session& session,
              const Target& target,
              Verb verb,
              Mode mode,
              const std::string& file,
              const std::string& text) {
    auto answer = ask(target.socket, "POST", target_of(session, verb, mode, file), text);
    if (!answer) {
        return tell_error(session, answer.error());
    }
    int code = print_results(session, *answer);
    if (target.in_lab && mode == Mode::real) {
        refresh_others(session, target.socket);
    }
    return code;
}

int to_lab(Session& session, Verb verb, const std::string& file, const std::string& text) {
    lab::Lab lab({session.lab_dir, session.lab_prefix});
    lab::ManifestText manifest{file, text, session.ns_or_default()};
    auto lines = verb == Verb::apply ? lab.apply(manifest) : lab.remove(manifest);
    if (!lines) {
        return tell_error(session, lines.error());
    }
    for (const std::string& line : *lines) {
        fmt::print(session.out, "{}\n", line);
    }
    return exit_code::ok;
}

bool nobody_there(const Error& error) {
    return error.kind == ErrorKind::not_found || error.kind == ErrorKind::refused;
}

int apply_in_lab(Session& session,
                 const Target& target,
                 const std::string& file,
                 const std::string& text) {
    SplitText parts = split_documents(text);
    if (!parts.mesh.empty()) {  // what orlopd refuses must not be half done
        auto answer = ask(target.socket,
                          "POST",
                          target_of(session, Verb::apply, Mode::dry_run, file),
                          parts.mesh);
        if (!answer && nobody_there(answer.error())) {
            fmt::print(session.err,
                       "orlopctl: no orlopd in this lab: objects are stored unchecked\n");
            return to_lab(session, Verb::apply, file, text);
        }
        if (!answer) {
            return tell_error(session, answer.error());
        }
        if (answer->status != 200) {
            return print_results(session, *answer);
        }
    }
    int code = parts.lab.empty() ? exit_code::ok : to_lab(session, Verb::apply, file, parts.lab);
    if (code != exit_code::ok || parts.mesh.empty()) {
        return code;
    }
    return to_daemon(session, target, Verb::apply, Mode::real, file, parts.mesh);
}

int delete_in_lab(Session& session,
                  const Target& target,
                  const std::string& file,
                  const std::string& text) {
    SplitText parts = split_documents(text);
    int code = exit_code::ok;
    if (!parts.mesh.empty()) {
        auto answer = ask(target.socket, "GET", "/log");
        if (!answer && nobody_there(answer.error())) {
            return to_lab(session, Verb::remove, file, text);
        }
        code = to_daemon(session, target, Verb::remove, Mode::real, file, parts.mesh);
    }
    int lab_code =
        parts.lab.empty() ? exit_code::ok : to_lab(session, Verb::remove, file, parts.lab);
    return std::max(code, lab_code);
}

template <class Each>
int each_file(Session& session, const std::vector<std::string>& files, Each each) {
    int code = exit_code::ok;
    for (const std::string& file : files) {
        auto text = read_input(session, file);
        int one =
            text ? each(file == "-" ? "<stdin>" : file, *text) : tell_error(session, text.error());
        code = std::max(code, one);
    }
    return code;
}

int delete_by_name(Session& session,
                   const Target& target,
                   const std::string& kind,
                   const std::string& name) {
    if (target.in_lab && is_lab_kind(kind)) {
        lab::Lab lab({session.lab_dir, session.lab_prefix});
        auto removed = lab.remove_object(session.ns_or_default(), kind + "/" + name);
        if (!removed) {
            return tell_error(session, removed.error());
        }
        fmt::print(session.out, "{}/{} deleted\n", kind, name);
        return exit_code::ok;
    }
    std::string canonical = canonical_kind(kind);
    if (canonical.empty()) {
        return tell_error(session,
                          "unknown kind '" + kind +
                              "'; try virtualservice, "
                              "destinationrule, peerauthentication",
                          exit_code::usage);
    }
    std::string path = fmt::format("/delete?kind={}&namespace={}&name={}",
                                   canonical,
                                   percent_encode(session.ns_or_default()),
                                   percent_encode(name));
    auto answer = ask(target.socket, "POST", path);
    if (!answer) {
        return tell_error(session, answer.error());
    }
    int code = print_results(session, *answer);
    if (target.in_lab) {
        refresh_others(session, target.socket);
    }
    return code;
}

}  // namespace

Result<KindAndName> split_object_words(const std::vector<std::string>& words) {
    if (words.empty() || words.size() > 2) {
        return fail(ErrorKind::invalid_input, "want KIND NAME or KIND/NAME");
    }
    std::size_t slash = words[0].find('/');
    if (slash != std::string::npos && words.size() == 1) {
        return KindAndName{words[0].substr(0, slash), words[0].substr(slash + 1)};
    }
    return KindAndName{words[0], words.size() == 2 ? words[1] : ""};
}

int run_apply(Session& session, const FileOptions& options) {
    Target target = find_target(session);
    Mode mode = options.dry_run == "server" ? Mode::dry_run : Mode::real;
    return each_file(session, options.files, [&](const std::string& file, const std::string& text) {
        return target.in_lab && mode == Mode::real
                   ? apply_in_lab(session, target, file, text)
                   : to_daemon(session, target, Verb::apply, mode, file, text);
    });
}

int run_delete(Session& session, const DeleteOptions& options) {
    if (options.files.empty() == options.words.empty()) {
        return tell_error(session, "delete wants either -f FILE or KIND NAME", exit_code::usage);
    }
    Target target = find_target(session);
    if (!options.files.empty()) {
        return each_file(
            session, options.files, [&](const std::string& file, const std::string& text) {
                return target.in_lab
                           ? delete_in_lab(session, target, file, text)
                           : to_daemon(session, target, Verb::remove, Mode::real, file, text);
            });
    }
    auto words = split_object_words(options.words);
    if (!words || words->name.empty()) {
        return tell_error(session, "delete wants KIND NAME or KIND/NAME", exit_code::usage);
    }
    return delete_by_name(session, target, words->kind, words->name);
}

}  // namespace orlop::app::cli
