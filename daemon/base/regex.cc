#include "daemon/base/regex.h"

#include "daemon/base/limits.h"

#include <re2/re2.h>

namespace orlop {

struct Regex::Compiled {
    re2::RE2 program;
    explicit Compiled(const std::string& pattern, const re2::RE2::Options& options)
        : program(pattern, options) {}
};

Result<Regex> Regex::compile(std::string_view pattern) {
    if (pattern.empty() || pattern.size() > limits::regex_bytes_max) {
        return fail(ErrorKind::invalid_input, "a regex must have 1 to 1024 characters");
    }
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);  // a hostile pattern may not build a large program
    Regex out;
    out.pattern_ = std::make_shared<const std::string>(pattern);
    auto compiled = std::make_shared<const Compiled>(*out.pattern_, options);
    if (!compiled->program.ok()) {
        return fail(ErrorKind::invalid_input,
                    "not a valid RE2 regex (" + compiled->program.error() +
                        "); Istio uses RE2 style regex-based match");
    }
    out.compiled_ = std::move(compiled);
    return out;
}

bool Regex::full_match(std::string_view text) const {
    return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), compiled_->program);
}

std::string Regex::replace_all(std::string_view text, const std::string& substitution) const {
    std::string out(text);
    re2::RE2::GlobalReplace(&out, compiled_->program, substitution);
    return out;
}

Result<void> Regex::check_substitution(const std::string& substitution) const {
    std::string why;
    if (!compiled_->program.CheckRewriteString(substitution, &why)) {
        return fail(ErrorKind::invalid_input, why);
    }
    return {};
}

}  // namespace orlop
