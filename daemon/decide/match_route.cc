#include "daemon/decide/match_route.h"

#include "daemon/model/route_index.h"

#include <algorithm>
#include <optional>
#include <string>

namespace orlop::decide {

namespace {

// `undecidable` satisfies neither a condition nor its negation (see the header).
enum class Verdict : unsigned char { no, yes, undecidable };

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return lower(x) == lower(y);
           });
}

// Length of the UTF-8 sequence that starts at `text`, 0 when it is malformed (RFC 3629).
std::size_t utf8_sequence(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    if (first < 0x80) {
        return 1;
    }
    std::size_t length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
        low = first == 0xE0 ? 0xA0 : 0x80;   // overlong
        high = first == 0xED ? 0x9F : 0xBF;  // surrogates
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
        low = first == 0xF0 ? 0x90 : 0x80;
        high = first == 0xF4 ? 0x8F : 0xBF;
    }
    if (length == 0 || text.size() < length || at(1) < low || at(1) > high) {
        return 0;
    }
    for (std::size_t i = 2; i < length; ++i) {
        if (at(i) < 0x80 || at(i) > 0xBF) {
            return 0;
        }
    }
    return length;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_sequence(text);
        if (length == 0) {
            return false;
        }
        text.remove_prefix(length);
    }
    return true;
}

Verdict as_verdict(bool yes) {
    return yes ? Verdict::yes : Verdict::no;
}

// Each kind has its own path; only `regex` ever reaches the regex engine.
Verdict judge(const model::StringMatch& match, std::string_view text) {
    using Kind = model::StringMatch::Kind;
    switch (match.kind) {
    case Kind::present:
        return Verdict::yes;
    case Kind::exact:
        return as_verdict(match.ignore_case ? equal_ignoring_case(text, match.text)
                                            : text == match.text);
    case Kind::prefix: {
        if (text.size() < match.text.size()) {
            return Verdict::no;
        }
        const std::string_view head = text.substr(0, match.text.size());
        return as_verdict(match.ignore_case ? equal_ignoring_case(head, match.text)
                                            : head == match.text);
    }
    case Kind::regex:
        // RE2 answers "no match" for bytes it cannot read; a negated condition would then hold.
        if (!match.regex || !is_utf8(text)) {
            return Verdict::undecidable;
        }
        return as_verdict(match.regex->full_match(text));
    }
    return Verdict::undecidable;
}

bool holds(const std::optional<model::StringMatch>& match, std::string_view text) {
    return !match || judge(*match, text) == Verdict::yes;
}

// All values of one header as RFC 9110 §5.3 combines them. `joined` is used only when the header
// occurs more than once.
struct HeaderValue {
    bool found = false;
    std::string_view text;
    std::string joined;

    void add(std::string_view value) {
        if (!found) {
            found = true;
            text = value;
            return;
        }
        if (joined.empty()) {
            joined.assign(text);
        }
        joined += ',';
        joined += value;
        text = joined;
    }
};

void read_header(const RequestView& request, std::string_view name, HeaderValue& out) {
    if (equal_ignoring_case(name, ":authority") || equal_ignoring_case(name, "host")) {
        out.add(request.authority);
        return;
    }
    if (equal_ignoring_case(name, ":method")) {
        out.add(request.method);
        return;
    }
    if (equal_ignoring_case(name, ":scheme")) {
        out.add(request.scheme);
        return;
    }
    for (std::size_t i = 0; i < request.headers.count; ++i) {
        const HeaderField field = request.headers.at(request.headers.context, i);
        if (equal_ignoring_case(field.name, name)) {
            out.add(field.value);
        }
    }
}

bool header_holds(const std::pair<std::string, model::StringMatch>& condition,
                  const RequestView& request) {
    HeaderValue value;
    read_header(request, condition.first, value);
    return value.found && judge(condition.second, value.text) == Verdict::yes;
}

// Inverted: an absent header reads as empty text, except that presence asks for absence.
bool header_absent_or_other(const std::pair<std::string, model::StringMatch>& condition,
                            const RequestView& request) {
    HeaderValue value;
    read_header(request, condition.first, value);
    if (condition.second.kind == model::StringMatch::Kind::present) {
        return !value.found;
    }
    return judge(condition.second, value.text) == Verdict::no;
}

// First value of a query parameter, as sent: neither name nor value is percent-decoded, so that
// the text matched is the text forwarded.
std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view pair = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        if (pair.substr(0, equals) == name && !(pair.empty() && name.empty())) {
            return pair.substr(std::min(equals + 1, pair.size()));
        }
    }
    return std::nullopt;
}

bool query_holds(const std::pair<std::string, model::StringMatch>& condition,
                 const RequestView& request) {
    const auto value = query_parameter(request.query, condition.first);
    return value && judge(condition.second, *value) == Verdict::yes;
}

bool source_holds(const model::HttpMatch& match, const RequestView& request) {
    if (!match.source_namespace.empty() && match.source_namespace != request.source_namespace) {
        return false;
    }
    for (const auto& [name, value] : match.source_labels) {
        if (request.source_labels == nullptr) {
            return false;
        }
        const auto found = request.source_labels->find(name);
        if (found == request.source_labels->end() || found->second != value) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool find_header(const HeaderSource& headers, std::string_view name, std::string_view* value) {
    for (std::size_t i = 0; i < headers.count; ++i) {
        const HeaderField field = headers.at(headers.context, i);
        if (equal_ignoring_case(field.name, name)) {
            *value = field.value;
            return true;
        }
    }
    return false;
}

bool matches(const model::StringMatch& match, std::string_view text) {
    return judge(match, text) == Verdict::yes;
}

bool matches(const model::HttpMatch& match, const RequestView& request) {
    // Cheap conditions first; the order changes no answer, since all must hold.
    if (match.port != 0 && match.port != request.port) {
        return false;
    }
    if (!source_holds(match, request)) {
        return false;
    }
    if (!holds(match.method, request.method) || !holds(match.scheme, request.scheme) ||
        !holds(match.authority, request.authority) || !holds(match.uri, request.path)) {
        return false;
    }
    const auto with_request = [&](auto condition) {
        return [&request, condition](const auto& entry) { return condition(entry, request); };
    };
    return std::ranges::all_of(match.headers, with_request(header_holds)) &&
           std::ranges::all_of(match.without_headers, with_request(header_absent_or_other)) &&
           std::ranges::all_of(match.query_params, with_request(query_holds));
}

namespace {

bool takes(const model::HttpRoute& route,
           const RequestView& request,
           const model::HttpMatch*& found) {
    if (route.matches.empty()) {
        return true;
    }
    for (const model::HttpMatch& match : route.matches) {
        if (matches(match, request)) {
            found = &match;
            return true;
        }
    }
    return false;
}

}  // namespace

const model::HttpRoute* match_route(const model::VirtualHost& host,
                                    const RequestView& request,
                                    const model::HttpMatch** which) {
    const model::HttpMatch* ignored = nullptr;
    const model::HttpMatch*& found = which == nullptr ? ignored : *which;
    found = nullptr;
    if (!host.index) {
        for (const model::HttpRoute& route : host.routes) {
            if (takes(route, request, found)) {
                return &route;
            }
        }
        return nullptr;
    }
    model::RouteCandidates candidates(*host.index, request.path);
    for (std::size_t i = candidates.next(); i < host.routes.size(); i = candidates.next()) {
        if (takes(host.routes[i], request, found)) {
            return &host.routes[i];
        }
    }
    return nullptr;
}

std::size_t pick_weighted(const model::HttpRoute& route, std::uint64_t random64) {
    if (route.destinations.size() == 1) {
        return 0;
    }
    std::uint64_t total = 0;  // not route.weight_total: an index must come out even if that is off
    for (const model::WeightedDestination& choice : route.destinations) {
        total += choice.weight;
    }
    if (total == 0) {
        return no_destination;
    }
    // Scale [0, 2^64) to [0, total): the bias is below total / 2^64.
    __extension__ using Wide = unsigned __int128;
    std::uint64_t point = static_cast<std::uint64_t>((static_cast<Wide>(random64) * total) >> 64);
    for (std::size_t i = 0; i < route.destinations.size(); ++i) {
        const std::uint64_t weight = route.destinations[i].weight;
        if (point < weight) {
            return i;
        }
        point -= weight;
    }
    return no_destination;
}

bool chance(double percent, std::uint64_t random64) {
    if (!(percent > 0)) {  // also NaN
        return false;
    }
    constexpr std::uint64_t whole = 1'000'000;
    // The small addend undoes representation error of values such as 0.0029 before truncation.
    const double parts = std::min(percent, 100.0) * 10'000.0 + 1e-6;
    return random64 % whole < static_cast<std::uint64_t>(parts);
}

}  // namespace orlop::decide
