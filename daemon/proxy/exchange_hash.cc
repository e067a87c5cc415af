// The consistentHash key of a request, and the cookie that begins a session (istio-semantics §7).
#include "daemon/proxy/exchange.h"

#include <fmt/core.h>

#include <string>

namespace orlop::proxy {
namespace {

using Key = model::ConsistentHash::Key;

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

// The value of `name` in `text`, whose pairs `separator` divides; nullopt when it is not there.
std::optional<std::string_view>
value_of(std::string_view text, char separator, std::string_view name) {
    while (!text.empty()) {
        const std::size_t end = text.find(separator);
        const std::string_view pair = trim(text.substr(0, end));
        const std::size_t equals = pair.find('=');
        if (pair.substr(0, equals) == name) {
            return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return std::nullopt;
}

std::string_view unquoted(std::string_view text) {
    const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    return quoted ? text.substr(1, text.size() - 2) : text;
}

std::optional<std::string_view> find_cookie(const FieldList& fields, std::string_view name) {
    for (const Field& field : fields) {
        if (!same_name(field.name, "cookie")) {
            continue;
        }
        if (auto value = value_of(field.value, ';', name)) {
            return unquoted(*value);
        }
    }
    return std::nullopt;
}

std::uint64_t hash_of(const IpAddress& address) {
    const auto bytes = address.bytes();
    return decide::hash_key({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

// Absent keys leave the choice to chance.
void Exchange::choose_hash(const Conversation& conversation) {
    const auto& rule = destination_->policy.consistent_hash;
    if (destination_->policy.load_balancing != model::LoadBalancing::consistent_hash || !rule) {
        return;
    }
    switch (rule->key) {
    case Key::header:
        if (const Field* field = request_.fields.find(rule->name)) {
            hash_ = decide::hash_key(field->value);
        }
        break;
    case Key::cookie:
        if (auto value = find_cookie(request_.fields, rule->name)) {
            hash_ = decide::hash_key(*value);
        } else if (rule->cookie_ttl) {
            make_cookie(*rule, conversation);
        }
        break;
    case Key::source_ip:
        hash_ = hash_of(conversation.peer.ip);
        break;
    case Key::query_parameter:
        if (auto value = value_of(request_.query, '&', rule->name)) {
            hash_ = decide::hash_key(*value);
        }
        break;
    }
}

// Decides this request already, and goes to the caller with the response. The ends of the
// connection make it, as in Envoy, and chance: behind one gateway address callers must differ.
void Exchange::make_cookie(const model::ConsistentHash& rule, const Conversation& conversation) {
    const std::uint64_t ends =
        hash_of(conversation.peer.ip) ^ conversation.peer.port ^ hash_of(conversation.original.ip);
    const std::string value = fmt::format("{:016x}", ends ^ core_.random().next());
    hash_ = decide::hash_key(value);
    std::string cookie = fmt::format("{}=\"{}\"", rule.name, value);
    if (*rule.cookie_ttl > Duration::zero()) {
        const auto age = std::chrono::duration_cast<std::chrono::seconds>(*rule.cookie_ttl);
        cookie += fmt::format("; Max-Age={}", age.count());
    }
    if (!rule.cookie_path.empty()) {
        cookie += "; Path=" + rule.cookie_path;
    }
    cookie += "; HttpOnly";
    cookie_room_.assign(cookie.begin(), cookie.end());
    new_cookie_ = {cookie_room_.data(), cookie_room_.size()};
}

}  // namespace orlop::proxy
