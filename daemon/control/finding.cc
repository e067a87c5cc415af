#include "daemon/control/finding.h"

#include <fmt/core.h>

namespace orlop::control {

const char* severity_name(Severity severity) {
    switch (severity) {
    case Severity::info:
        return "info";
    case Severity::warning:
        return "warning";
    case Severity::error:
        break;
    }
    return "error";
}

std::string Finding::to_string() const {
    std::string text;
    if (!file.empty()) {
        text += line > 0 ? fmt::format("{}:{}: ", file, line) : file + ": ";
    }
    text += fmt::format("{}: ", severity_name(severity));
    if (!object.kind.empty()) {
        text += object.to_string();
        text += path.empty() ? ": " : " " + path + ": ";
    } else if (!path.empty()) {
        text += path + ": ";
    }
    text += message;
    if (!hint.empty()) {
        text += "; " + hint;
    }
    if (!code.empty()) {
        text += " [" + code + "]";
    }
    return text;
}

}  // namespace orlop::control
