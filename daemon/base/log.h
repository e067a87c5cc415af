// Log lines for people: one line each, level and component, never written by the calling thread.
//
// log_line() formats, then hands the record to a bounded queue (limits::log_queue_records_max)
// that one writer thread empties to stderr; when the queue is full the line is counted as dropped
// and the caller goes on. Levels are per component and may change at run time from any thread.
// Access-log lines take the same way, as already formatted text to stdout or a file.
//
//     log_line(LogLevel::info, "datapath", "pod {}/{} enrolled in {} us", ns, name, micros);
#pragma once

#include "daemon/base/error.h"

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace orlop {

enum class LogLevel : unsigned char { trace, debug, info, warning, error, off };

Result<LogLevel> parse_log_level(std::string_view text);
std::string_view log_level_name(LogLevel level);

bool log_enabled(LogLevel level, std::string_view component);
void write_log(LogLevel level, std::string_view component, std::string text);
void write_access_log(std::string line);  // `line` without its newline

// Level of one component, or of all with component "all". Unknown components are refused with the
// list of known ones; a component is known once it has logged or is one of the rooms.
Result<void> set_log_level(std::string_view component, LogLevel level);
std::string list_log_levels();  // "component level\n" lines

enum class LogFormat : unsigned char { text, json };
struct LogOptions {
    LogFormat format = LogFormat::text;
    std::string access_log_path = "/dev/stdout";  // empty: no access log
};
void start_log_writer(const LogOptions& options);
void stop_log_writer();  // writes what is queued, then joins the writer
unsigned long long log_lines_dropped();

template <class... Args>
void log_line(LogLevel level,
              std::string_view component,
              fmt::format_string<Args...> format,
              Args&&... args) {
    if (log_enabled(level, component)) {
        write_log(level, component, fmt::format(format, std::forward<Args>(args)...));
    }
}

}  // namespace orlop
