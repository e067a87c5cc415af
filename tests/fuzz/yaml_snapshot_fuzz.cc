// Bytes -> documents -> store -> compile, twice: the second text replaces the first, so that
// holding, overlaying and deleting run as well. A line of `=====` parts the two texts.
#include "daemon/control/analyze.h"
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace orlop::control;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::size_t part = text.find("\n=====\n");
    ObjectStore store;
    Compiler compiler;
    DecodeOptions options{.file = "a.yaml", .origin = Origin::sandbox};
    store.replace_source("a.yaml", decode_text(text.substr(0, part), options), 1);
    auto first = compiler.compile(store, {.node = "n1", .generation = 1});
    if (part != std::string_view::npos) {
        store.replace_source("b.yaml", decode_text(text.substr(part + 7), options), 2);
        compiler.compile(store, {.node = "n1", .generation = 2});
        store.remove_source("a.yaml");
    }
    auto last = compiler.compile(store, {.node = "n1", .generation = 3});
    last.snapshot->find_virtual_host("default", "pricing:80", 80);
    analyze(store);
    for (const StoredObject* stored : store.objects()) {
        if (stored->object && !stored->object->written.empty()) {
            auto again = parse_yaml(stored->object->written);
            if (!again || again->size() != 1 ||
                to_yaml(again->front()) != stored->object->written) {
                __builtin_trap();  // what we print must mean what we read
            }
        }
    }
    return 0;
}
