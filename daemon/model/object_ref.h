// ObjectRef: where a decision was written. Every compiled value that can decide a request keeps
// one, so that `explain` and error texts can name the object, its file and its line.
#pragma once

#include <memory>
#include <string>

namespace orlop::model {

struct ObjectRef {
    std::string kind;  // "VirtualService"
    std::string ns;
    std::string name;
    std::string file;  // as the user named it; empty for built-in defaults
    int line = 0;      // 1-based line of the deciding element; 0 when unknown

    std::string to_string() const {
        std::string text = kind + " " + (ns.empty() ? "" : ns + "/") + name;
        if (!file.empty()) {
            text += " (" + file + ":" + std::to_string(line) + ")";
        }
        return text;
    }
};
using ObjectRefPtr = std::shared_ptr<const ObjectRef>;

}  // namespace orlop::model
