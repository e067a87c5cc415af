// Builds trees of YAML nodes in place of text, keeping the lines of what they were made from.
#pragma once

#include "daemon/control/yaml_document.h"

#include <string>
#include <utility>

namespace orlop::control {

inline Node make_text(std::string text, int line) {
    Node node;
    node.kind = Node::Kind::scalar;
    node.style = Node::Style::quoted;
    node.line = line;
    node.text = std::move(text);
    return node;
}

// A number, a boolean or any scalar whose type YAML sees.
inline Node make_plain(std::string text, int line) {
    Node node = make_text(std::move(text), line);
    node.style = Node::Style::plain;
    return node;
}

inline Node make_map(int line) {
    Node node;
    node.kind = Node::Kind::map;
    node.line = line;
    return node;
}

inline Node make_list(int line) {
    Node node;
    node.kind = Node::Kind::list;
    node.line = line;
    return node;
}

inline Node& put(Node& map, std::string key, Node value) {
    int line = value.line;
    map.fields.push_back({std::move(key), line, std::move(value)});
    return map.fields.back().value;
}

}  // namespace orlop::control
