// Files of the CA: bounded reads, atomic writes, modes. Private to mtls; control thread only.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

#include <string>
#include <string_view>

namespace orlop::mtls {

enum class Secrecy : unsigned char {
    open,           // any mode
    owner_only,     // no bit for group or others, owned by us
    not_for_others  // group may read: Kubernetes secret volumes with fsGroup
};

Result<UniqueFd> open_directory(const std::string& path);  // makes it, 0700, when missing
Result<void> lock_directory(int directory, const std::string& path);  // until the fd closes
bool file_exists(int directory, const std::string& name);
Result<std::string>
read_file(int directory, const std::string& path, const std::string& name, Secrecy secrecy);
// Whole or not at all, on disk when it returns; replaces nothing that exists.
Result<void> write_file(int directory,
                        const std::string& path,
                        const std::string& name,
                        std::string_view content,
                        unsigned mode);

}  // namespace orlop::mtls
