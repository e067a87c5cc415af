// Failures as values.
//
// Every fallible operation returns Result<T>: either the value or an Error that says what kind of
// failure it was, on which side of the proxy, and what to check next. Exceptions never leave the
// room that called the throwing library. Errors are plain values: they may cross cores by copy.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace orlop {

enum class ErrorKind : unsigned char {
    invalid_input,    // bytes, YAML or arguments that break their grammar
    limit_exceeded,   // a bound of base/limits.h was reached
    timed_out,        // a deadline passed
    cancelled,        // we gave up on purpose
    closed,           // orderly end by the peer
    reset,            // the peer, or the kernel, cut the connection
    refused,          // connection refused or unreachable
    unauthenticated,  // TLS or identity check failed
    denied,           // policy says no
    not_found,
    unsupported,  // the kernel or a library lacks a feature
    system,       // a system call failed; see sys_errno
    internal,
};

enum class Side : unsigned char { internal, downstream, upstream };

struct Error {
    ErrorKind kind = ErrorKind::internal;
    std::string context;  // names the object at fault and the next thing to check
    Side side = Side::internal;
    int sys_errno = 0;  // 0 when no system call was involved
};

template <class T> using Result = std::expected<T, Error>;

inline std::unexpected<Error>
fail(ErrorKind kind, std::string context, Side side = Side::internal) {
    return std::unexpected(Error{kind, std::move(context), side, 0});
}

// Wraps errno `number` (positive) as ErrorKind::system, or refused/reset/timed_out where it is one.
inline Error system_error(int number, std::string_view what, Side side = Side::internal) {
    ErrorKind kind = ErrorKind::system;
    switch (number) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        kind = ErrorKind::refused;
        break;
    case ECONNRESET:
    case EPIPE:
        kind = ErrorKind::reset;
        break;
    case ETIMEDOUT:
        kind = ErrorKind::timed_out;
        break;
    case ECANCELED:
        kind = ErrorKind::cancelled;
        break;
    default:
        break;
    }
    return Error{kind, std::string(what) + ": " + std::strerror(number), side, number};
}

inline std::unexpected<Error>
fail_errno(int number, std::string_view what, Side side = Side::internal) {
    return std::unexpected(system_error(number, what, side));
}

}  // namespace orlop
