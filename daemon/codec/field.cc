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

constexpr std::size_t word_bytes = 8;

// Eight bytes with A-Z, and only those, made lower case; the other bits stay as they are.
std::uint64_t folded_word(const char* at) {
    constexpr std::uint64_t each = 0x0101010101010101U;
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    const std::uint64_t low7 = word & (0x7f * each);
    const std::uint64_t above_z = low7 + (0x7f - 'Z') * each;
    const std::uint64_t from_a = low7 + (0x80 - 'A') * each;
    const std::uint64_t upper = ~word & (from_a ^ above_z) & (0x80 * each);
    return word | (upper >> 2);
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
    const std::size_t size = a.size();
    if (size != b.size()) {
        return false;
    }
    if (size < word_bytes) {
        for (std::size_t i = 0; i < size; ++i) {
            if (grammar::lower(a[i]) != grammar::lower(b[i])) {
                return false;
            }
        }
        return true;
    }
    for (std::size_t i = 0; i + word_bytes < size; i += word_bytes) {
        if (folded_word(a.data() + i) != folded_word(b.data() + i)) {
            return false;
        }
    }
    const std::size_t last = size - word_bytes;  // may overlap what was compared already
    return folded_word(a.data() + last) == folded_word(b.data() + last);
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

#if defined(__SSE2__)
// A byte is bad when it is < 0x20 and not HTAB, or 0x7f. max(b, 0x20) == b means b >= 0x20.
static bool valid_block(const char* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i printable = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
    const __m128i allowed = _mm_or_si128(printable, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')));
    const __m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)), allowed);
    return _mm_movemask_epi8(good) == 0xffff;
}
#endif

bool valid_value(std::string_view value) {
#if defined(__SSE2__)
    constexpr std::size_t block = 16;
    if (value.size() >= block) {
        const char* at = value.data();
        const char* const last = at + value.size() - block;  // may overlap what was seen already
        for (; at < last; at += block) {
            if (!valid_block(at)) {
                return false;
            }
        }
        return valid_block(last);
    }
#endif
    return all(value, value_bit);
}

}  // namespace grammar
}  // namespace orlop
