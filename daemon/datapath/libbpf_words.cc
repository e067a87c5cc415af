#include "daemon/datapath/libbpf_words.h"

#include "daemon/base/log.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <string>

namespace orlop::datapath {
namespace {

thread_local std::string libbpf_words;  // the last thing libbpf complained about on this thread

int keep_libbpf_words(libbpf_print_level level, const char* format, va_list args) {
    if (level != LIBBPF_WARN) {
        return 0;
    }
    std::array<char, 512> line{};
    int size = std::vsnprintf(line.data(), line.size(), format, args);
    std::string text(
        line.data(),
        std::min<std::size_t>(static_cast<std::size_t>(std::max(size, 0)), line.size() - 1));
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    log_line(LogLevel::debug, "datapath", "{}", text);
    libbpf_words = std::move(text);
    return 0;
}

}  // namespace

void listen_to_libbpf() {
    libbpf_set_print(keep_libbpf_words);
}

std::unexpected<Error> fail_libbpf(int error, std::string_view what) {
    std::string said = libbpf_words.empty() ? "" : " (" + libbpf_words + ")";
    libbpf_words.clear();
    Error failure = system_error(error < 0 ? -error : error, what);
    failure.context += said;
    return std::unexpected(std::move(failure));
}

}  // namespace orlop::datapath
