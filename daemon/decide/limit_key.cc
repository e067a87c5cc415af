#include "daemon/decide/limit_key.h"

#include <algorithm>

namespace orlop::decide {
namespace {

using Kind = model::LimitAttribute::Kind;
using Value = std::optional<std::string_view>;

Value label(const model::Labels& labels, const std::string& name) {
    auto found = labels.find(name);
    return found == labels.end() ? Value() : Value(found->second);
}

Value shared_label(const model::Destination* destination, const std::string& name) {
    Value shared;
    if (destination == nullptr) {
        return shared;
    }
    for (const model::Endpoint& endpoint : destination->endpoints) {
        Value one = endpoint.workload ? label(endpoint.workload->labels, name) : Value();
        if (!one || (shared && *shared != *one)) {
            return std::nullopt;
        }
        shared = one;
    }
    return shared;
}

Value present(std::string_view text) {
    return text.empty() ? Value() : Value(text);
}

Value of_source(const model::LimitAttribute& attribute, const LimitSubject& subject) {
    const model::Workload* source = subject.source;
    if (attribute.kind == Kind::source_principal) {
        return present(subject.source_principal);
    }
    if (attribute.kind == Kind::source_address) {
        return present(subject.source_address);
    }
    if (source == nullptr) {
        return std::nullopt;
    }
    switch (attribute.kind) {
    case Kind::source_workload:
        return present(source->workload_name);
    case Kind::source_namespace:
        return present(source->ns);
    default:
        return label(source->labels, attribute.name);
    }
}

Value of_destination(const model::LimitAttribute& attribute, const LimitSubject& subject) {
    if (attribute.kind == Kind::destination_label) {
        return shared_label(subject.destination, attribute.name);
    }
    if (subject.service == nullptr) {
        return std::nullopt;
    }
    switch (attribute.kind) {
    case Kind::destination_service:
        return present(subject.service->host);
    case Kind::destination_name:
        return present(subject.service->name);
    default:
        return present(subject.service->ns);
    }
}

Value of_request(const model::LimitAttribute& attribute, const RequestView& request) {
    std::string_view value;
    switch (attribute.kind) {
    case Kind::host:
        return present(request.authority);
    case Kind::path:
        return present(request.path);
    case Kind::method:
        return present(request.method);
    default:
        return find_header(request.headers, attribute.name, &value) ? Value(value) : Value();
    }
}

}  // namespace

std::optional<std::string_view> value_of(const model::LimitAttribute& attribute,
                                         const LimitSubject& subject) {
    switch (attribute.kind) {
    case Kind::literal:
        return attribute.name;
    case Kind::source_workload:
    case Kind::source_namespace:
    case Kind::source_label:
    case Kind::source_principal:
    case Kind::source_address:
        return of_source(attribute, subject);
    case Kind::destination_service:
    case Kind::destination_name:
    case Kind::destination_namespace:
    case Kind::destination_label:
        return of_destination(attribute, subject);
    case Kind::host:
    case Kind::path:
    case Kind::method:
    case Kind::header:
        return of_request(attribute, *subject.request);
    }
    return std::nullopt;
}

std::string_view value_of(const model::LimitExpression& expression, const LimitSubject& subject) {
    for (const model::LimitAttribute& attribute : expression) {
        if (auto value = value_of(attribute, subject)) {
            return *value;
        }
    }
    return {};
}

bool applies(const model::RateLimit& limit, const LimitSubject& subject) {
    const model::Workload* source = subject.source;
    bool from_here = limit.source_namespace.empty() ||
                     (source != nullptr && source->ns == limit.source_namespace);
    bool labelled = std::ranges::all_of(limit.source_labels, [&](const auto& wanted) {
        return source != nullptr && label(source->labels, wanted.first) == wanted.second;
    });
    if (!from_here || !labelled) {
        return false;
    }
    return limit.matches.empty() || std::ranges::any_of(limit.matches, [&](const auto& match) {
               return matches(*match, *subject.request);
           });
}

bool applies(const model::Quota& quota, const LimitSubject& subject) {
    return std::ranges::all_of(quota.conditions, [&](const model::LimitCondition& condition) {
        return (value_of(condition.left, subject) == condition.value) != condition.negated;
    });
}

}  // namespace orlop::decide
