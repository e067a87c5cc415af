// Strict reading of YAML 1.2 or JSON text into a small tree of our own.
//
// The idea: nothing that YAML guesses may decide policy. Duplicate keys, merge keys, non-scalar
// keys and unknown tags are refused; plain scalars are booleans only as `true` and `false`; `yes`
// stays text. Bounds (bytes, depth, nodes after alias expansion, documents) come from
// base/limits.h, so hostile text costs bounded memory and time. Aliases are expanded by copy.
//
// Lifetime: a tree owns its text and may outlive the input. Values; any thread.
//
//     auto documents = parse_yaml(text);
//     if (!documents) report(documents.error());      // context holds line and column
//     for (const Node& document : *documents) if (const Node* kind = document.find("kind")) ...
#pragma once

#include "daemon/base/error.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::control {

struct Field;

struct Node {
    enum class Kind : unsigned char { null, scalar, list, map };
    enum class Style : unsigned char { plain, quoted };  // quoted: always a string

    Kind kind = Kind::null;
    Style style = Style::plain;
    int line = 0;               // 1-based; of the value
    int column = 0;             // 1-based
    std::string text;           // scalar only
    std::vector<Node> items;    // list only
    std::vector<Field> fields;  // map only, in the order written; keys are unique

    bool is_map() const { return kind == Kind::map; }
    bool is_list() const { return kind == Kind::list; }
    bool is_scalar() const { return kind == Kind::scalar; }
    bool is_null() const { return kind == Kind::null; }
    const Node* find(std::string_view key) const;  // null when absent or not a map
    // Text of a scalar member; empty when absent or no scalar.
    std::string_view text_of(std::string_view key) const;
    // "a map", "a list", "null", "\"text\"": for messages, shortened.
    std::string describe() const;
};

struct Field {
    std::string key;
    int line = 0;  // of the key
    Node value;
};

// Where parsing failed; error().context already contains the same line.
struct YamlError {
    Error error;
    int line = 0;
    int column = 0;
};

// All documents of the text; empty documents (nothing or null) are left out.
std::expected<std::vector<Node>, YamlError> parse_yaml(std::string_view text);
// The same without the quick way for plain texts (plain_yaml.h), with which it must agree.
std::expected<std::vector<Node>, YamlError> parse_all_yaml(std::string_view text);

// Canonical block YAML and one-line JSON of a tree, for `orlopctl get`.
std::string to_yaml(const Node& node);
std::string to_json(const Node& node);

}  // namespace orlop::control
