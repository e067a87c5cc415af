// What the quick reader of plain YAML accepts is, node by node, what yaml-cpp makes of the text.
#include "daemon/control/plain_yaml.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using orlop::control::Node;

bool same(const Node& a, const Node& b) {
    bool alike = a.kind == b.kind && a.style == b.style && a.line == b.line &&
                 a.column == b.column && a.text == b.text && a.items.size() == b.items.size() &&
                 a.fields.size() == b.fields.size();
    for (std::size_t i = 0; alike && i < a.items.size(); ++i) {
        alike = same(a.items[i], b.items[i]);
    }
    for (std::size_t i = 0; alike && i < a.fields.size(); ++i) {
        alike = a.fields[i].key == b.fields[i].key && a.fields[i].line == b.fields[i].line &&
                same(a.fields[i].value, b.fields[i].value);
    }
    return alike;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    if (!orlop::control::parse_plain_yaml(text)) {
        return 0;
    }
    auto plain = orlop::control::parse_yaml(text);
    auto all = orlop::control::parse_all_yaml(text);
    if (!plain && !all) {
        return 0;  // not UTF-8, or control characters
    }
    if (!plain || !all || all->size() != plain->size()) {
        __builtin_trap();
    }
    for (std::size_t i = 0; i < plain->size(); ++i) {
        if (!same((*plain)[i], (*all)[i])) {
            __builtin_trap();
        }
    }
    return 0;
}
