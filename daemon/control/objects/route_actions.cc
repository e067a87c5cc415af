#include "daemon/control/objects/route_actions.h"

#include "daemon/base/ip.h"
#include "daemon/base/limits.h"
#include "daemon/control/objects/header_text.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

constexpr std::size_t direct_body_warn_bytes = 100 * 1024;
constexpr std::size_t direct_body_bytes_max = 1024 * 1024;

bool is_header_name(std::string_view name) {
    static constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               others.find(c) != std::string_view::npos;
    });
}

// Framing and connection fields are the proxy's alone: a message that lies about them is an attack.
bool belongs_to_proxy(std::string_view name) {
    static constexpr std::string_view names[] = {"connection",
                                                 "content-length",
                                                 "expect",
                                                 "keep-alive",
                                                 "proxy-connection",
                                                 "te",
                                                 "trailer",
                                                 "transfer-encoding",
                                                 "upgrade"};
    return std::ranges::find(names, name) != std::end(names);
}

bool is_header_value(std::string_view value) {
    return std::ranges::none_of(value, [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
    });
}

enum class Authority : unsigned char { refused, allowed };

void read_header_pairs(FieldReader& ops,
                       std::string_view name,
                       Authority authority,
                       std::vector<std::pair<std::string, model::HeaderText>>& out) {
    ops.each_field(name, [&](const Field& field, const std::string& path) {
        std::string header = to_lower(field.key);
        bool is_authority = header == ":authority" || header == "host";
        Report& report = ops.report();
        if ((is_authority && authority == Authority::refused) ||
            (!is_authority && !is_header_name(header))) {
            report.error(field.line,
                         path,
                         "not a header name that may be changed",
                         "Host and :authority only by request set or add");
            return;
        }
        if (belongs_to_proxy(header)) {
            report.error(field.line,
                         path,
                         fmt::format("{} frames the message and may not be changed", header));
            return;
        }
        auto value = field.value.is_scalar() ? std::optional(field.value.text) : std::nullopt;
        if (!value || !is_header_value(*value)) {
            report.error(field.value.line,
                         path,
                         "found " + field.value.describe() + ", want a header value");
            return;
        }
        model::HeaderText text;
        if (auto wrong = parse_header_text(*value, text)) {
            report.error(field.value.line, path, *wrong, header_operators());
            return;
        }
        if (is_authority && !text.pieces.empty()) {
            report.error(field.value.line, path, "a host cannot be made of operators");
            return;
        }
        out.emplace_back(std::move(header), std::move(text));
    });
}

void read_header_ops(FieldReader& parent,
                     std::string_view name,
                     Authority authority,
                     model::HeaderOps& out) {
    FieldReader ops(parent.report(), parent.take(name), parent.path_of(name));
    read_header_pairs(ops, "set", authority, out.set);
    read_header_pairs(ops, "add", authority, out.add);
    for (std::string& header : ops.texts("remove")) {
        std::string lower = to_lower(header);
        if (!is_header_name(lower) || lower == "host" || belongs_to_proxy(lower)) {
            ops.error("remove", fmt::format("\"{:.60}\" may not be removed", header));
            continue;
        }
        out.remove.push_back(std::move(lower));
    }
}

std::optional<std::uint32_t> grpc_status_of(std::string_view name) {
    static constexpr std::string_view names[] = {"OK",
                                                 "CANCELLED",
                                                 "UNKNOWN",
                                                 "INVALID_ARGUMENT",
                                                 "DEADLINE_EXCEEDED",
                                                 "NOT_FOUND",
                                                 "ALREADY_EXISTS",
                                                 "PERMISSION_DENIED",
                                                 "RESOURCE_EXHAUSTED",
                                                 "FAILED_PRECONDITION",
                                                 "ABORTED",
                                                 "OUT_OF_RANGE",
                                                 "UNIMPLEMENTED",
                                                 "INTERNAL",
                                                 "UNAVAILABLE",
                                                 "DATA_LOSS",
                                                 "UNAUTHENTICATED"};
    auto found = std::ranges::find(names, name);
    if (found == std::end(names)) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(found - std::begin(names));
}

// percentage.value, else the deprecated integer `percent`, else 0 (istio-semantics §12).
double read_fault_percent(FieldReader& fault) {
    auto percentage = read_percent(fault, "percentage");
    auto old = fault.integer("percent", 0, 100);
    if (old) {
        fault.report().warn("ORL009",
                            fault.line_of("percent"),
                            fault.path_of("percent"),
                            "deprecated; write percentage.value");
    }
    return percentage ? *percentage : static_cast<double>(old.value_or(0));
}

void read_delay(FieldReader& fault, model::Fault& out) {
    FieldReader delay(fault.report(), fault.take("delay"), fault.path_of("delay"));
    if (!delay.present()) {
        return;
    }
    out.delay_percent = read_fault_percent(delay);
    if (delay.has("exponentialDelay")) {
        delay.error("exponentialDelay", "exponentialDelay not supported yet", "write fixedDelay");
        return;
    }
    auto fixed = delay.duration("fixedDelay");
    out.delay = fixed.value_or(Duration::zero());
    if (!fixed && !delay.has("fixedDelay")) {
        delay.error_here("fixedDelay is missing", "write a duration such as 5s");
    }
}

void read_abort(FieldReader& fault, model::Fault& out) {
    FieldReader abort(fault.report(), fault.take("abort"), fault.path_of("abort"));
    if (!abort.present()) {
        return;
    }
    if (auto percentage = read_percent(abort, "percentage")) {
        out.abort_percent = *percentage;
    }
    if (abort.has("http2Error")) {
        abort.error("http2Error",
                    "HTTP/2 abort fault injection not supported yet",
                    "write httpStatus or grpcStatus");
    }
    auto status = abort.integer("httpStatus", 200, 599);
    auto grpc = abort.text("grpcStatus");
    if (status && grpc) {
        abort.error_here("httpStatus and grpcStatus exclude each other");
    }
    out.abort_http_status = static_cast<std::uint16_t>(status.value_or(0));
    if (grpc) {
        out.abort_grpc_status = grpc_status_of(*grpc);
        if (!out.abort_grpc_status) {
            abort.error("grpcStatus",
                        fmt::format("gRPC status \"{:.40}\" is not supported", *grpc),
                        "upper-case name such as UNAVAILABLE");
        }
    }
    if (!abort.has("httpStatus") && !grpc && !abort.has("http2Error")) {
        fault.report().warn("ORL009",
                            abort.line(),
                            abort.path(),
                            "no httpStatus or grpcStatus: the abort does nothing");
    }
}

bool is_host_with_port(std::string_view text) {
    std::size_t colon = text.rfind(':');
    return is_host_pattern(to_lower(text.substr(0, colon)));
}

std::string join_commas(const std::vector<std::string>& items) {
    std::string joined;
    for (const std::string& item : items) {
        joined += joined.empty() ? item : "," + item;
    }
    return joined;
}

MirrorSpec make_mirror(DestinationName to, double percent) {
    return {std::move(to), percent};
}

}  // namespace

std::optional<DestinationName>
decode_destination(Report& report, const Node* node, const std::string& path) {
    FieldReader reader(report, node, path);
    if (!reader.present()) {
        return std::nullopt;
    }
    DestinationName name;
    name.line = reader.line_of("host");
    name.path = path;
    name.host = to_lower(reader.text_or("host", ""));
    if (!is_host_pattern(name.host) || name.host.starts_with('*')) {
        reader.error("host",
                     name.host.empty() ? std::string("destination must have a host")
                                       : fmt::format("\"{:.80}\" is no host name", name.host));
    }
    name.subset = reader.text_or("subset", "");
    if (!name.subset.empty() && !is_dns_label(name.subset)) {
        reader.error("subset",
                     fmt::format("subset name \"{:.80}\" is invalid", name.subset),
                     "lower-case letters, digits and '-', at most 63");
    }
    FieldReader port(report, reader.take("port"), reader.path_of("port"));
    if (port.present()) {
        auto number = read_port(port, "number");
        name.port = number.value_or(0);
        if (!number && !port.has("number")) {
            port.error_here("number is missing");
        }
    }
    return name;
}

void decode_headers(FieldReader& parent, model::HeaderOps& request, model::HeaderOps& response) {
    FieldReader headers(parent.report(), parent.take("headers"), parent.path_of("headers"));
    read_header_ops(headers, "request", Authority::allowed, request);
    read_header_ops(headers, "response", Authority::refused, response);
}

std::optional<model::Fault> decode_fault(const DecodeContext& context, FieldReader& route) {
    FieldReader fault(context.report, route.take("fault"), route.path_of("fault"));
    if (!fault.present()) {
        return std::nullopt;
    }
    model::Fault out;
    out.source = context.ref_at(fault.line());
    read_delay(fault, out);
    read_abort(fault, out);
    if (!fault.has("delay") && !fault.has("abort")) {
        fault.error_here("HTTP fault injection must have an abort and/or a delay");
    }
    return out;
}

std::optional<model::Redirect> decode_redirect(FieldReader& route) {
    FieldReader reader(route.report(), route.take("redirect"), route.path_of("redirect"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::Redirect redirect;
    redirect.uri = reader.text_or("uri", "");
    redirect.prefix_rewrite = reader.text_or("prefixRewrite", "");
    redirect.authority = reader.text_or("authority", "");
    redirect.scheme = reader.text_or("scheme", "");
    redirect.port = read_port(reader, "port").value_or(0);
    auto derive = reader.choice("derivePort", {"FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"});
    if (derive) {
        redirect.derive_port = *derive == 0 ? model::Redirect::DerivePort::protocol_default
                                            : model::Redirect::DerivePort::request;
        if (redirect.port != 0) {
            reader.error_here("port and derivePort exclude each other");
        }
    }
    auto code = reader.integer("redirectCode", 300, 399);
    static constexpr std::int64_t served[] = {301, 302, 303, 307, 308};
    if (code && std::ranges::find(served, *code) == std::end(served)) {
        reader.error("redirectCode",
                     fmt::format("{} cannot be served", *code),
                     "use 301, 302, 303, 307 or 308");
    }
    redirect.code = static_cast<std::uint16_t>(code.value_or(301));
    if (!redirect.uri.empty() && !redirect.prefix_rewrite.empty()) {
        reader.error_here("uri and prefixRewrite exclude each other");
    }
    if (!redirect.scheme.empty() && redirect.scheme != "http" && redirect.scheme != "https") {
        reader.error("scheme", "invalid redirect scheme, must be http or https");
    }
    bool says_something = !redirect.uri.empty() || !redirect.prefix_rewrite.empty() ||
                          !redirect.authority.empty() || !redirect.scheme.empty() ||
                          redirect.port != 0 || derive.has_value();
    if (!says_something) {
        reader.error_here("redirect must specify URI, authority, scheme, or port");
    }
    for (const std::string* value :
         {&redirect.uri, &redirect.prefix_rewrite, &redirect.authority}) {
        if (!is_header_value(*value)) {
            reader.error_here("control characters are not allowed");
        }
    }
    return redirect;
}

std::optional<model::DirectResponse> decode_direct_response(FieldReader& route) {
    FieldReader reader(
        route.report(), route.take("directResponse"), route.path_of("directResponse"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::DirectResponse response;
    auto status = reader.integer("status", 200, 599);
    if (!status && !reader.has("status")) {
        reader.error_here("status is missing");
    }
    response.status = static_cast<std::uint16_t>(status.value_or(200));
    FieldReader body(route.report(), reader.take("body"), reader.path_of("body"));
    auto text = body.text("string");
    if (body.has("bytes")) {
        body.error("bytes", "a body of bytes is not supported", "write body.string");
    }
    response.body = text.value_or("");
    if (response.body.size() > direct_body_bytes_max) {
        body.error("string", "body is larger than 1 MB");
    } else if (response.body.size() > direct_body_warn_bytes) {
        route.report().warn("ORL009", body.line(), body.path(), "body is larger than 100 KB");
    }
    return response;
}

std::optional<model::Rewrite> decode_rewrite(FieldReader& route) {
    FieldReader reader(route.report(), route.take("rewrite"), route.path_of("rewrite"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::Rewrite rewrite;
    rewrite.uri = reader.text_or("uri", "");
    rewrite.authority = reader.text_or("authority", "");
    FieldReader regex(
        route.report(), reader.take("uriRegexRewrite"), reader.path_of("uriRegexRewrite"));
    if (regex.present()) {
        std::string pattern = regex.text_or("match", "");
        rewrite.regex =
            read_regex(route.report(), regex.line_of("match"), regex.path_of("match"), pattern);
        rewrite.regex_substitution = regex.text_or("rewrite", "");
        if (rewrite.regex) {
            if (auto right = rewrite.regex->check_substitution(rewrite.regex_substitution);
                !right) {
                regex.error(
                    "rewrite", right.error().context, "\\1 to \\9 stand for the groups of match");
            }
        }
        if (!rewrite.uri.empty()) {
            reader.error_here("uri and uriRegexRewrite exclude each other");
        }
    }
    if (!rewrite.authority.empty() && !is_host_with_port(rewrite.authority)) {
        reader.error("authority", "not a host");
    }
    if (rewrite.uri.empty() && rewrite.authority.empty() && !regex.present()) {
        reader.error_here("rewrite must specify path, authority, or both");
    }
    if (!is_header_value(rewrite.uri) || !is_header_value(rewrite.regex_substitution)) {
        reader.error_here("control characters are not allowed");
    }
    return rewrite;
}

std::optional<model::CorsPolicy> decode_cors(FieldReader& route) {
    FieldReader reader(route.report(), route.take("corsPolicy"), route.path_of("corsPolicy"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::CorsPolicy cors;
    for (std::string& origin : reader.texts("allowOrigin")) {
        model::StringMatch match;
        if (origin != "*") {
            match.kind = model::StringMatch::Kind::exact;
            match.text = std::move(origin);
        }
        cors.allow_origins.push_back(std::move(match));
    }
    reader.each("allowOrigins", [&](const Node& item, const std::string& path) {
        if (auto match = read_string_match(route.report(), item, path, Presence::refused)) {
            cors.allow_origins.push_back(*std::move(match));
        }
    });
    cors.allow_methods = join_commas(reader.texts("allowMethods"));
    cors.allow_headers = join_commas(reader.texts("allowHeaders"));
    cors.expose_headers = join_commas(reader.texts("exposeHeaders"));
    if (auto age = reader.duration("maxAge")) {
        auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*age);
        if (Duration(seconds) != *age) {
            reader.error("maxAge", "only whole seconds are supported");
        }
        cors.max_age = std::to_string(seconds.count());
    }
    cors.allow_credentials = reader.boolean("allowCredentials");
    auto unmatched = reader.choice("unmatchedPreflights", {"UNSPECIFIED", "FORWARD", "IGNORE"});
    cors.ignore_unmatched_preflights = unmatched == std::optional<std::size_t>(2);
    for (const std::string* list :
         {&cors.allow_methods, &cors.allow_headers, &cors.expose_headers}) {
        if (!is_header_value(*list)) {
            reader.error_here("control characters are not allowed");
        }
    }
    return cors;
}

std::optional<std::vector<MirrorSpec>> decode_mirrors(FieldReader& route) {
    Report& report = route.report();
    auto single = decode_destination(report, route.take("mirror"), route.path_of("mirror"));
    auto percentage = read_percent(route, "mirrorPercentage");
    auto camel = route.number("mirrorPercent", 0, 100);
    auto snake = route.number("mirror_percent", 0, 100);
    if (camel || snake) {
        std::string_view name = camel ? "mirrorPercent" : "mirror_percent";
        report.warn("ORL009",
                    route.line_of(name),
                    route.path_of(name),
                    "deprecated; write mirrorPercentage.value");
    }
    double percent = percentage ? *percentage : camel ? *camel : snake.value_or(100);
    if (!route.has("mirror") && !route.has("mirrors")) {
        return std::nullopt;
    }
    std::vector<MirrorSpec> mirrors;
    if (single && percent > 0) {
        mirrors.push_back(make_mirror(*std::move(single), percent));
    }
    if (route.has("mirror") && route.has("mirrors")) {
        route.error("mirrors", "mirror and mirrors exclude each other");
    }
    if (const Node* list = route.take("mirrors");
        list != nullptr && list->items.size() > limits::mirrors_per_route_max) {
        route.error("mirrors", fmt::format("more than {} mirrors", limits::mirrors_per_route_max));
        return mirrors;
    }
    route.each("mirrors", [&](const Node& item, const std::string& path) {
        FieldReader entry(report, &item, path);
        auto to = decode_destination(report, entry.take("destination"), path + ".destination");
        double share = read_percent(entry, "percentage").value_or(100);
        if (!to) {
            entry.error_here("destination is missing");
        } else if (share > 0) {
            mirrors.push_back(make_mirror(*std::move(to), share));
        }
    });
    return mirrors;
}

}  // namespace orlop::control
