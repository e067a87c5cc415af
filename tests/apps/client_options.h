// Options that the clients share: how many clients, how they connect, how long a call may take.
#pragma once

#include "tests/apps/http.h"

namespace orlop::apps {

struct ClientOptions {
    int clients = 1;                                      // -c
    std::chrono::milliseconds limit{0};                   // -t, per call
    std::chrono::microseconds pause{0};                   // -i, between the calls of a client
    Connection::Reuse reuse = Connection::Reuse::fresh;   // -k: keep
    Connection::Family family = Connection::Family::any;  // -4, -6
    Url url;

    Connection connect() const { return Connection(url, reuse, family); }
};

inline constexpr const char* client_letters = "c:t:i:k46";

// True when the letter was one of `client_letters`.
inline bool take_option(ClientOptions& options, int letter, const char* value) {
    switch (letter) {
    case 'c':
        options.clients = static_cast<int>(number_or(value, 0));
        return true;
    case 't':
        options.limit =
            std::chrono::duration_cast<std::chrono::milliseconds>(parse_duration(value));
        return true;
    case 'i':
        options.pause = parse_duration(value);
        return true;
    case 'k':
        options.reuse = Connection::Reuse::keep;
        return true;
    case '4':
        options.family = Connection::Family::v4;
        return true;
    case '6':
        options.family = Connection::Family::v6;
        return true;
    default:
        return false;
    }
}

}  // namespace orlop::apps
