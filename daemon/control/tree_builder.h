// Builds Nodes from the events of a YAML parser.
//
// The idea: bounds are checked as events arrive, before memory is spent, and what YAML guesses is
// refused here, whichever parser speaks. Both parsers of yaml_document.cc drive it: what the plain
// one accepts is the same tree.
//
// A Refusal is thrown inside parse_yaml only.
#pragma once

#include "daemon/base/error.h"
#include "daemon/control/yaml_document.h"

#include <cstddef>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

namespace orlop::control {

struct Place {
    int line = 1;
    int column = 1;
};

struct Refusal {
    ErrorKind kind;
    std::string message;
    Place place;
};

class TreeBuilder {
public:
    using Anchor = std::size_t;  // 0: none

    void begin_document(Place place) { count(1, 0, place); }
    void end_document() { anchors_.clear(); }
    void null(Place place, Anchor anchor = 0);
    void scalar(Place place, Node::Style style, std::string text, Anchor anchor = 0);
    void alias(Place place, Anchor anchor);
    void open(Node::Kind kind, Place place, Anchor anchor = 0);
    void close();

    std::vector<Node> take_documents() { return std::move(documents_); }

private:
    struct Frame {
        Node node;
        Anchor anchor = 0;
        std::size_t nodes_before = 0;
        std::size_t bytes_before = 0;
        bool has_key = false;
        std::string key;
        int key_line = 0;
        std::unordered_set<std::string> keys;  // only when there are many
    };
    struct Anchored {
        Node node;
        std::size_t nodes = 0;
        std::size_t bytes = 0;
    };

    void count(std::size_t nodes, std::size_t bytes, Place place);
    void add(Node node, Anchor anchor, Place place);
    void attach(Node node, Place place);
    static void take_key(Frame& frame, Node node, Place place);

    std::vector<Node> documents_;
    std::vector<Frame> frames_;
    std::map<Anchor, Anchored> anchors_;
    std::size_t nodes_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace orlop::control
