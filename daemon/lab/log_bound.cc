#include "daemon/lab/log_bound.h"

#include "daemon/base/limits.h"
#include "daemon/base/unique_fd.h"

#include <system_error>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <string_view>
#include <unistd.h>

namespace orlop::lab {

namespace {

constexpr std::size_t kept_bytes = limits::lab_log_bytes_max / 4;
constexpr std::string_view cut_note = "[older lines were dropped]\n";

void shrink(const std::string& path, std::size_t size) {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) {
        return;
    }
    std::string newest(kept_bytes, '\0');
    const ssize_t count =
        ::pread(file.get(), newest.data(), newest.size(), static_cast<off_t>(size - kept_bytes));
    if (count <= 0 || ::ftruncate(file.get(), 0) != 0) {
        return;
    }
    newest.resize(static_cast<std::size_t>(count));
    newest.replace(0, std::min(newest.find('\n') + 1, newest.size()), cut_note);
    [[maybe_unused]] const ssize_t written = ::write(file.get(), newest.data(), newest.size());
}

void bound_folder(const std::string& folder) {
    namespace fs = std::filesystem;
    std::error_code code;
    for (auto at = fs::recursive_directory_iterator(folder, code);
         !code && at != fs::recursive_directory_iterator();
         at.increment(code)) {
        std::error_code gone;
        if (at->path().extension() != ".log" || !at->is_regular_file(gone)) {
            continue;
        }
        const auto size = at->file_size(gone);
        if (!gone && size > limits::lab_log_bytes_max) {
            shrink(at->path(), size);
        }
    }
}

}  // namespace

void bound_logs(const std::string& state_dir) {
    bound_folder(state_dir + "/logs");   // of pods
    bound_folder(state_dir + "/nodes");  // of orlopd and the resolvers
}

}  // namespace orlop::lab
