#include "daemon/datapath/journal.h"

#include "bpf/abi.h"
#include "daemon/base/unique_fd.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

namespace orlop::datapath {
namespace {

constexpr std::string_view magic = "orlop-datapath";
constexpr std::string_view version = "1";
constexpr std::size_t journal_bytes_max = 32 * 1024 * 1024;  // ORLOP_PODS_MAX of the longest lines
constexpr std::array<PodState, 4> states{
    PodState::prepared, PodState::listening, PodState::enrolled, PodState::draining};

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        std::size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(at + 1);
    }
}

template <class Number> std::optional<Number> number(std::string_view text) {
    Number value{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<JournalPod> parse_pod(std::string_view line) {
    auto fields = split(line, '\t');
    if (fields.size() != 7 || fields[0] != "pod" || !check_pod_uid(fields[5]) ||
        !check_netns_path(fields[6])) {
        return std::nullopt;
    }
    auto slot = number<std::uint32_t>(fields[1]);
    auto cookie = number<std::uint64_t>(fields[3]);
    auto state = std::ranges::find(states, fields[2], pod_state_name);
    if (!slot || *slot == 0 || *slot > ORLOP_PODS_MAX || !cookie || state == states.end()) {
        return std::nullopt;
    }
    JournalPod pod{.uid = std::string(fields[5]),
                   .netns_path = std::string(fields[6]),
                   .slot = *slot,
                   .netns_cookie = *cookie,
                   .state = *state,
                   .mark_sysctls_before = std::nullopt};
    if (fields[4].size() == 1 && fields[4][0] >= '0' && fields[4][0] <= '7') {
        pod.mark_sysctls_before = fields[4][0] - '0';
    } else if (fields[4] != "-") {
        return std::nullopt;
    }
    return pod;
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
    while (!text.empty()) {
        ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return fail_errno(errno, "write journal " + path + " (disk full?)");
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

std::string format_pod(const JournalPod& pod) {
    return fmt::format("pod\t{}\t{}\t{}\t{}\t{}\t{}\n",
                       pod.slot,
                       pod_state_name(pod.state),
                       pod.netns_cookie,
                       pod.mark_sysctls_before ? std::to_string(*pod.mark_sysctls_before) : "-",
                       pod.uid,
                       pod.netns_path);
}

}  // namespace

std::string_view pod_state_name(PodState state) {
    switch (state) {
    case PodState::prepared:
        return "prepared";
    case PodState::listening:
        return "listening";
    case PodState::enrolled:
        return "enrolled";
    case PodState::draining:
        return "draining";
    }
    return "unknown";
}

Result<void> check_pod_uid(std::string_view uid) {
    auto allowed = [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("._:/-").find(static_cast<char>(c)) != std::string_view::npos;
    };
    if (uid.empty() || uid.size() > 253 || !std::ranges::all_of(uid, allowed)) {
        return fail(ErrorKind::invalid_input,
                    "a pod's uid must be 1 to 253 bytes of [A-Za-z0-9._:/-]");
    }
    return {};
}

Result<void> check_netns_path(std::string_view path) {
    auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    if (path.empty() || path.front() != '/' || path.size() > 4095 ||
        std::ranges::any_of(path, control)) {
        return fail(ErrorKind::invalid_input,
                    "a network namespace must be an absolute path without control characters");
    }
    return {};
}

std::string format_journal(std::string_view boot_id, const std::vector<JournalPod>& pods) {
    std::string text = fmt::format("{}\t{}\t{}\n", magic, version, boot_id);
    for (const JournalPod& pod : pods) {
        text += format_pod(pod);
    }
    return text;
}

Result<std::vector<JournalPod>> parse_journal(std::string_view text, std::string_view boot_id) {
    std::vector<JournalPod> pods;
    if (text.empty()) {
        return pods;
    }
    auto lines = split(text, '\n');
    auto head = split(lines.front(), '\t');
    if (head.size() != 3 || head[0] != magic || head[1] != version || lines.size() < 2) {
        return fail(ErrorKind::invalid_input, "journal: bad header or cut off");
    }
    if (head[2] != boot_id) {
        return pods;
    }
    for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
        auto pod = parse_pod(lines[i]);
        bool twice = pod && std::ranges::any_of(pods, [&](const JournalPod& other) {
                         return other.slot == pod->slot || other.uid == pod->uid;
                     });
        if (!pod || twice) {
            return fail(ErrorKind::invalid_input, fmt::format("journal: line {} is bad", i + 1));
        }
        pods.push_back(std::move(*pod));
    }
    return pods;
}

std::string read_boot_id() {
    UniqueFd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    std::array<char, 36> id{};
    ssize_t size = file.valid() ? ::read(file.get(), id.data(), id.size()) : 0;
    return std::string(id.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
}

Result<std::vector<JournalPod>> read_journal(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) {
        if (errno == ENOENT) {
            return std::vector<JournalPod>{};
        }
        return fail_errno(errno, "open journal " + path);
    }
    std::string text;
    std::array<char, 16384> chunk;
    while (text.size() <= journal_bytes_max) {
        ssize_t size = ::read(file.get(), chunk.data(), chunk.size());
        if (size < 0) {
            return fail_errno(errno, "read journal " + path);
        }
        if (size == 0) {
            return parse_journal(text, read_boot_id());
        }
        text.append(chunk.data(), static_cast<std::size_t>(size));
    }
    return fail(ErrorKind::limit_exceeded, "journal " + path + " is too long");
}

Result<void> write_journal(const std::string& path, const std::vector<JournalPod>& pods) {
    std::string fresh = path + ".new";
    UniqueFd file(
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) {
        return fail_errno(errno, "create journal " + fresh + " (state folder read-only?)");
    }
    if (auto done = write_all(file.get(), format_journal(read_boot_id(), pods), fresh); !done) {
        return done;
    }
    // No fsync: neither the pins nor the namespaces survive what an fsync protects against.
    if (::rename(fresh.c_str(), path.c_str()) != 0) {
        return fail_errno(errno, "rename journal to " + path);
    }
    return {};
}

Result<void> append_journal(const std::string& path, const JournalPod& pod) {
    UniqueFd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) {
        return fail_errno(errno, "open journal " + path + " (state folder read-only?)");
    }
    return write_all(file.get(), format_pod(pod), path);
}

}  // namespace orlop::datapath
