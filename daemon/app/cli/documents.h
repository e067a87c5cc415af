// Mixed YAML taken apart: what the lab runs, and what orlopd decides by.
//
// Both parts keep the line numbers of the whole, so that every message names the user's line.
#pragma once

#include <string>
#include <string_view>

namespace orlop::app::cli {

struct SplitText {
    std::string lab;   // documents of kinds the lab runs; empty when there are none
    std::string mesh;  // all others, also those that cannot be read
};
SplitText split_documents(std::string_view text);

// Deployment, Job, Pod, Service, Namespace, ServiceAccount, in any of kubectl's spellings.
bool is_lab_kind(std::string_view kind);

}  // namespace orlop::app::cli
