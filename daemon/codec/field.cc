#include "daemon/codec/field.h"

#include "daemon/codec/grammar.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cassert>
#include <cstring>

namespace orlop {
namespace {

constexpr std::array<std::string_view, known_count> known_names = {
    "",
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
    "authorization",
    "cookie",
    "set-cookie",
    "content-type",
    "content-encoding",
    "content-range",
    "user-agent",
    "server",
    "date",
    "location",
    "retry-after",
    "traceparent",
    "tracestate",
    "b3",
    "forwarded",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-envoy-original-path",
    "x-envoy-upstream-service-time",
    "grpc-status",
    "grpc-message",
};
static_assert(known_names.back() == "grpc-message", "one name per enumerator, in its order");

constexpr std::size_t name_length_max = 32;
constexpr std::size_t same_length_max = 6;

// Names by length: at most a handful share one, so the search is one or two comparisons.
struct LengthTable {
    std::array<std::array<std::uint8_t, same_length_max>, name_length_max> ids{};
};
consteval LengthTable build_lengths() {
    LengthTable table;
    std::array<std::size_t, name_length_max> used{};
    for (std::size_t id = 1; id < known_count; ++id) {
        const std::size_t length = known_names[id].size();
        table.ids.at(length).at(used[length]++) = static_cast<std::uint8_t>(id);
    }
    return table;
}
constexpr LengthTable by_length = build_lengths();

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) {
        return false;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (grammar::lower(a[i]) != grammar::lower(b[i])) {
            return false;
        }
    }
    return true;
}

Known known_name(std::string_view name) {
    if (name.empty() || name.size() >= name_length_max) {
        return Known::none;
    }
    const char last = grammar::lower(name.back());
    for (const std::uint8_t id : by_length.ids[name.size()]) {
        if (id == 0) {
            break;
        }
        if (known_names[id].back() == last && same_name(name, known_names[id])) {
            return static_cast<Known>(id);
        }
    }
    return Known::none;
}

std::string_view known_text(Known known) {
    const auto index = static_cast<std::size_t>(known);
    return index < known_count ? known_names[index] : std::string_view();
}

void FieldList::clear() {
    first.fill(0);
    count = 0;
}

bool FieldList::append(Field field) {
    if (count == items.size()) {
        return false;
    }
    const Known id = known_name(field.name);
    items[count] = field;
    known[count] = id;
    ++count;
    std::uint8_t& slot = first[static_cast<std::size_t>(id)];
    if (slot == 0 && id != Known::none) {
        slot = static_cast<std::uint8_t>(count);
    }
    return true;
}

const Field* FieldList::find(std::string_view name) const {
    assert(count <= items.size());
    for (const Field& field : *this) {
        if (same_name(field.name, name)) {
            return &field;
        }
    }
    return nullptr;
}

namespace grammar {

bool valid_value(std::string_view value) {
    const char* at = value.data();
    std::size_t left = value.size();
#if defined(__SSE2__)
    // A byte is bad when it is < 0x20 and not HTAB, or 0x7f. max(b, 0x20) == b means b >= 0x20.
    const __m128i space = _mm_set1_epi8(0x20);
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i del = _mm_set1_epi8(0x7f);
    for (; left >= 16; at += 16, left -= 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i printable = _mm_cmpeq_epi8(_mm_max_epu8(bytes, space), bytes);
        const __m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, del),
                                              _mm_or_si128(printable, _mm_cmpeq_epi8(bytes, tab)));
        if (_mm_movemask_epi8(good) != 0xffff) {
            return false;
        }
    }
#endif
    return all({at, left}, value_bit);
}

}  // namespace grammar
}  // namespace orlop
