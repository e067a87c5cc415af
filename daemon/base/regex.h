// Regex: a compiled RE2 pattern as an immutable shared value, so that the model can hold one
// without knowing the library. RE2 syntax as in Istio; at most limits::regex_bytes_max bytes.
// Matching is linear in the text and safe from any thread.
#pragma once

#include "daemon/base/error.h"

#include <memory>
#include <string>
#include <string_view>

namespace orlop {

class Regex {
public:
    static Result<Regex> compile(std::string_view pattern);
    bool full_match(std::string_view text) const;
    // Every match replaced, \1 to \9 being its groups; check() tells beforehand whether it can.
    std::string replace_all(std::string_view text, const std::string& substitution) const;
    Result<void> check_substitution(const std::string& substitution) const;
    const std::string& pattern() const { return *pattern_; }

private:
    struct Compiled;
    std::shared_ptr<const std::string> pattern_;
    std::shared_ptr<const Compiled> compiled_;
};

}  // namespace orlop
