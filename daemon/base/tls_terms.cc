#include "daemon/base/tls_terms.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace orlop {
namespace {

// Two FNV-1a sums with different starts. Names terms of one configuration; guards nothing.
class Sum {
public:
    void add(std::string_view text) {
        for (char c : text) {
            one_ = (one_ ^ static_cast<unsigned char>(c)) * prime;
            two_ = (two_ ^ static_cast<unsigned char>(c)) * prime;
        }
        std::uint64_t size = text.size();  // so that no two lists of texts are confused
        one_ = (one_ ^ size) * prime;
        two_ = (two_ ^ ~size) * prime;
    }
    std::string text() const {
        constexpr std::string_view digits = "0123456789abcdef";
        std::string out;
        for (std::uint64_t half : {one_, two_}) {
            for (int shift = 60; shift >= 0; shift -= 4) {
                out += digits[(half >> shift) & 15];
            }
        }
        return out;
    }

private:
    static constexpr std::uint64_t prime = 1099511628211ull;
    std::uint64_t one_ = 14695981039346656037ull;
    std::uint64_t two_ = 0x9e3779b97f4a7c15ull;
};

}  // namespace

std::string tls_terms_key(const TlsTerms& terms) {
    Sum sum;
    std::array<char, 4> kinds = {static_cast<char>(terms.role),
                                 static_cast<char>(terms.peer),
                                 static_cast<char>(terms.version_min),
                                 static_cast<char>(terms.version_max)};
    sum.add({kinds.data(), kinds.size()});
    for (const std::string* text :
         {&terms.certificates, &terms.private_key, &terms.roots, &terms.server_name}) {
        sum.add(*text);
    }
    for (const auto* list : {&terms.peer_names, &terms.alpn}) {
        for (const std::string& text : *list) {
            sum.add(text);
        }
        sum.add("/");
    }
    sum.add(terms.mesh_identity ? terms.mesh_identity->to_string() : std::string());
    return sum.text();
}

}  // namespace orlop
