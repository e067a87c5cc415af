#include "daemon/control/tree_builder.h"

#include "daemon/base/limits.h"

#include <fmt/core.h>

#include <utility>

namespace orlop::control {
namespace {

constexpr std::size_t few_keys = 16;  // below this a linear look for duplicates is cheapest

[[noreturn]] void refuse(ErrorKind kind, std::string message, Place place) {
    throw Refusal{kind, std::move(message), place};
}

Node node_at(Node::Kind kind, Place place) {
    Node node;
    node.kind = kind;
    node.line = place.line;
    node.column = place.column;
    return node;
}

}  // namespace

void TreeBuilder::null(Place place, Anchor anchor) {
    add(node_at(Node::Kind::null, place), anchor, place);
}

void TreeBuilder::scalar(Place place, Node::Style style, std::string text, Anchor anchor) {
    Node node = node_at(Node::Kind::scalar, place);
    node.style = style;
    node.text = std::move(text);
    add(std::move(node), anchor, place);
}

void TreeBuilder::alias(Place place, Anchor anchor) {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
        refuse(ErrorKind::invalid_input, "an alias names an anchor that contains it", place);
    }
    count(found->second.nodes, found->second.bytes, place);
    attach(found->second.node, place);
}

void TreeBuilder::open(Node::Kind kind, Place place, Anchor anchor) {
    if (frames_.size() >= limits::yaml_depth_max) {
        refuse(ErrorKind::limit_exceeded,
               fmt::format("nested deeper than {} levels (yaml_depth_max)", limits::yaml_depth_max),
               place);
    }
    Frame frame;
    frame.nodes_before = nodes_;
    frame.bytes_before = bytes_;
    count(1, 0, place);
    frame.node = node_at(kind, place);
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
}

void TreeBuilder::close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    Place place{frame.node.line, frame.node.column};
    if (frame.anchor != 0) {
        Anchored anchored{frame.node, nodes_ - frame.nodes_before, bytes_ - frame.bytes_before};
        count(anchored.nodes, anchored.bytes, place);  // the copy for aliases costs memory too
        anchors_[frame.anchor] = std::move(anchored);
    }
    attach(std::move(frame.node), place);
}

void TreeBuilder::count(std::size_t nodes, std::size_t bytes, Place place) {
    nodes_ += nodes;
    bytes_ += bytes;
    if (nodes_ > limits::yaml_nodes_max) {
        refuse(ErrorKind::limit_exceeded,
               fmt::format("more than {} values, aliases expanded (yaml_nodes_max)",
                           limits::yaml_nodes_max),
               place);
    }
    if (bytes_ > limits::yaml_expanded_bytes_max) {
        refuse(ErrorKind::limit_exceeded,
               fmt::format("more than {} bytes, aliases expanded (yaml_expanded_bytes_max)",
                           limits::yaml_expanded_bytes_max),
               place);
    }
}

void TreeBuilder::add(Node node, Anchor anchor, Place place) {
    count(1, node.text.size(), place);
    if (anchor != 0) {
        anchors_[anchor] = Anchored{node, 1, node.text.size()};
    }
    attach(std::move(node), place);
}

void TreeBuilder::attach(Node node, Place place) {
    if (frames_.empty()) {
        if (!node.is_null()) {
            documents_.push_back(std::move(node));
        }
        return;
    }
    Frame& frame = frames_.back();
    if (frame.node.is_list()) {
        frame.node.items.push_back(std::move(node));
    } else if (!frame.has_key) {
        take_key(frame, std::move(node), place);
    } else {
        frame.has_key = false;
        frame.node.fields.push_back({std::move(frame.key), frame.key_line, std::move(node)});
    }
}

void TreeBuilder::take_key(Frame& frame, Node node, Place place) {
    if (!node.is_scalar()) {
        refuse(ErrorKind::invalid_input, "a key of a map must be text", place);
    }
    if (node.text == "<<" && node.style == Node::Style::plain) {
        refuse(ErrorKind::invalid_input,
               "merge keys (<<) are not part of YAML 1.2; write the fields out",
               place);
    }
    if (std::size_t size = frame.node.fields.size(); size == few_keys) {
        for (const Field& field : frame.node.fields) {
            frame.keys.insert(field.key);
        }
    }
    bool duplicate = frame.node.fields.size() < few_keys ? frame.node.find(node.text) != nullptr
                                                         : !frame.keys.insert(node.text).second;
    if (duplicate) {
        refuse(ErrorKind::invalid_input,
               fmt::format("the key \"{:.80}\" appears twice in one map", node.text),
               place);
    }
    frame.has_key = true;
    frame.key = std::move(node.text);
    frame.key_line = node.line;
}

}  // namespace orlop::control
