// The plain part of YAML, read many times faster than all of it.
//
// The idea: nearly every object is written in block maps and lists, one-line scalars and one-line
// flow collections. Those are read here; at the first thing beyond them (anchors, tags, block
// scalars, escapes, text over several lines, anything that may be an error) the reader gives up and
// yaml-cpp reads the whole text, errors included. What is accepted here is, node by node, what
// yaml-cpp would have made of it: tests and a fuzz target compare the two.
#pragma once

#include "daemon/control/yaml_document.h"

#include <optional>
#include <string_view>
#include <vector>

namespace orlop::control {

// Nothing: not plain enough. `text` is valid UTF-8.
std::optional<std::vector<Node>> parse_plain_yaml(std::string_view text);

}  // namespace orlop::control
