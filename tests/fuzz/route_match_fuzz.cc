// Routes and requests of arbitrary bytes: match_route never crashes and keeps its promises.
//
// Beside "no crash": a condition and its negation never both hold; text a regex cannot read holds
// for neither; the reported match belongs to the returned route and no earlier route matches; the
// parsers of header values accept only their grammar.
#include "daemon/decide/balance.h"
#include "daemon/decide/match_route.h"
#include "daemon/decide/retry.h"

#include <cstdlib>
#include <fuzzer/FuzzedDataProvider.h>
#include <string>
#include <vector>

namespace {

using orlop::Regex;
using orlop::decide::HeaderField;
using orlop::decide::matches;
using orlop::decide::RequestView;
using orlop::model::HttpMatch;
using orlop::model::StringMatch;

constexpr std::size_t text_bytes_max = 64;

void require(const bool& holds) {
    if (!holds) {
        std::abort();
    }
}

StringMatch read_match(FuzzedDataProvider& input) {
    StringMatch out;
    out.kind = static_cast<StringMatch::Kind>(input.ConsumeIntegralInRange<int>(0, 3));
    out.text = input.ConsumeRandomLengthString(text_bytes_max);
    out.ignore_case = input.ConsumeBool();
    if (out.kind == StringMatch::Kind::regex) {
        auto compiled = Regex::compile(out.text);
        if (compiled) {
            out.regex = *compiled;
        }
    }
    return out;
}

void read_pairs(FuzzedDataProvider& input, std::vector<std::pair<std::string, StringMatch>>& out) {
    const int count = input.ConsumeIntegralInRange<int>(0, 3);
    for (int i = 0; i < count; ++i) {
        std::string name = input.ConsumeRandomLengthString(text_bytes_max);
        out.emplace_back(std::move(name), read_match(input));
    }
}

HttpMatch read_conditions(FuzzedDataProvider& input) {
    HttpMatch out;
    if (input.ConsumeBool()) {
        out.uri = read_match(input);
    }
    if (input.ConsumeBool()) {
        out.method = read_match(input);
    }
    if (input.ConsumeBool()) {
        out.authority = read_match(input);
    }
    read_pairs(input, out.headers);
    read_pairs(input, out.without_headers);
    read_pairs(input, out.query_params);
    if (input.ConsumeBool()) {
        out.port = input.ConsumeIntegral<std::uint16_t>();
    }
    if (input.ConsumeBool()) {
        out.source_labels.emplace(input.ConsumeRandomLengthString(8), "v");
        out.source_namespace = input.ConsumeRandomLengthString(8);
    }
    return out;
}

void check_negation(const HttpMatch& match, const RequestView& request) {
    for (const auto& header : match.headers) {
        HttpMatch positive;
        positive.headers.push_back(header);
        HttpMatch negative;
        negative.without_headers.push_back(header);
        require(!(matches(positive, request) && matches(negative, request)));
    }
}

void check_values(const std::string& text) {
    const auto timeout = orlop::decide::parse_grpc_timeout(text);
    require(!timeout || timeout->count() >= 0);
    const auto status = orlop::decide::parse_grpc_status(text);
    require(!status || *status <= 999);
    orlop::decide::hash_key(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    FuzzedDataProvider input(data, size);
    orlop::model::VirtualHost host;
    const int routes = input.ConsumeIntegralInRange<int>(0, 4);
    for (int i = 0; i < routes; ++i) {
        orlop::model::HttpRoute route;
        const int count = input.ConsumeIntegralInRange<int>(0, 3);
        for (int j = 0; j < count; ++j) {
            route.matches.push_back(read_conditions(input));
        }
        route.destinations.resize(input.ConsumeIntegralInRange<std::size_t>(0, 3));
        for (auto& destination : route.destinations) {
            destination.weight = input.ConsumeIntegral<std::uint32_t>();
        }
        host.routes.push_back(std::move(route));
    }
    std::vector<std::string> texts;
    for (int i = 0; i < 4; ++i) {
        texts.push_back(input.ConsumeRandomLengthString(text_bytes_max));
    }
    std::vector<std::string> header_texts;
    while (input.remaining_bytes() > 0 && header_texts.size() < 16) {
        header_texts.push_back(input.ConsumeRandomLengthString(text_bytes_max));
    }
    std::vector<HeaderField> headers;
    for (std::size_t i = 0; i + 1 < header_texts.size(); i += 2) {
        headers.push_back({header_texts[i], header_texts[i + 1]});
    }
    const orlop::model::Labels labels = {{"a", "v"}};
    const RequestView request{.method = texts[0],
                              .path = texts[1],
                              .query = texts[2],
                              .authority = texts[3],
                              .headers = orlop::decide::HeaderSource::of(headers),
                              .port = 80,
                              .source_labels = &labels};

    const HttpMatch* which = nullptr;
    const orlop::model::HttpRoute* found = orlop::decide::match_route(host, request, &which);
    for (const orlop::model::HttpRoute& route : host.routes) {
        for (const HttpMatch& match : route.matches) {
            check_negation(match, request);
        }
        if (&route == found) {
            break;
        }
        require(!route.matches.empty());
        for (const HttpMatch& match : route.matches) {
            require(!matches(match, request));
        }
    }
    if (found != nullptr) {
        require((which == nullptr) == found->matches.empty());
        require(which == nullptr || matches(*which, request));
        const std::size_t choice =
            orlop::decide::pick_weighted(*found, input.ConsumeIntegral<std::uint64_t>());
        require(choice == orlop::decide::no_destination || choice < found->destinations.size());
    }
    for (const std::string& text : texts) {
        check_values(text);
    }
    return 0;
}
