// Secret: only the entries that make TLS credentials are kept, decoded. No text of a Secret goes
// into a finding.
#include "daemon/base/limits.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/gateway.h"

#include <fmt/core.h>

#include <optional>
#include <string_view>

namespace orlop::control {
namespace {

int base64_value(char c) {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    auto at = alphabet.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

// RFC 4648 §4; line breaks of a folded YAML text are skipped.
std::optional<std::string> decode_base64(std::string_view text) {
    std::string out;
    unsigned bits = 0;
    int count = 0;
    bool ended = false;
    for (char c : text) {
        if (c == '\n' || c == '\r' || c == ' ') {
            continue;
        }
        if (c == '=') {
            ended = true;
            continue;
        }
        int value = base64_value(c);
        if (value < 0 || ended) {
            return std::nullopt;
        }
        bits = bits << 6 | static_cast<unsigned>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 255);
        }
    }
    return out;
}

enum class Encoding : unsigned char { base64, plain };

std::string* entry_of(SecretSpec& secret, std::string_view key) {
    if (key == "tls.crt" || key == "cert") {
        return &secret.certificate;
    }
    if (key == "tls.key" || key == "key") {
        return &secret.private_key;
    }
    return key == "ca.crt" || key == "cacert" ? &secret.roots : nullptr;
}

}  // namespace

ObjectSpec decode_secret(const DecodeContext& context) {
    SecretSpec out;
    FieldReader root(context.report, &context.root, "", UnknownFields::ignored);
    auto take = [&](const Field& field, const std::string& path, Encoding how) {
        std::string* entry = entry_of(out, field.key);
        if (entry == nullptr) {
            return;  // none of the mesh's business
        }
        bool encoded = how == Encoding::base64;
        auto text = read_text(field.value);
        auto plain = text && encoded ? decode_base64(*text) : text;
        if (!plain) {
            context.report.error(field.line,
                                 path,
                                 encoded ? "is no base64 text" : "is no text",
                                 "PEM, in base64 under data or as it is under stringData");
        } else if (plain->size() > limits::ca_file_bytes_max) {
            context.report.error(
                field.line,
                path,
                fmt::format("larger than {} bytes (ca_file_bytes_max)", limits::ca_file_bytes_max));
        } else {
            *entry = std::move(*plain);
        }
    };
    root.each_field("data", [&](const Field& field, const std::string& path) {
        take(field, path, Encoding::base64);
    });
    root.each_field("stringData", [&](const Field& field, const std::string& path) {
        take(field, path, Encoding::plain);
    });
    return out;
}

}  // namespace orlop::control
