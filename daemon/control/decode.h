// Documents to objects: which kinds exist, which versions, and where they may come from.
//
// Pure functions of text. An invalid document yields no object but all its errors at once; a file
// whose text is not YAML yields one error and no documents.
#pragma once

#include "daemon/control/finding.h"
#include "daemon/control/objects/object.h"
#include "daemon/control/yaml_document.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::control {

// Sandbox objects name kernel paths: only the sandbox directory is trusted with them.
enum class Origin : unsigned char { config, sandbox };

struct DecodeOptions {
    std::string file;  // as the user named it; goes into every finding and ObjectRef
    Origin origin = Origin::config;
    std::string default_namespace = "default";
    std::set<std::string>* asked = nullptr;  // see Report::watch; for tests of the field tables
};

struct DecodedObject {
    ObjectKey key;         // name empty: the document could not be identified
    ObjectPtr object;      // null when refused or ignored
    bool ignored = false;  // a kind the mesh has no use for (Deployment, ConfigMap, ...)
    int line = 0;
    Findings findings;  // errors (then `object` is null) and warnings
};

DecodedObject decode_object(const Node& document, const DecodeOptions& options);

struct DecodedText {
    std::vector<DecodedObject> objects;  // `kind: List` is taken apart
    Findings errors;                     // the text as a whole: syntax, size, unnamed documents
};
DecodedText decode_text(std::string_view text, const DecodeOptions& options);

}  // namespace orlop::control
