// Names, hashes and times that Kubernetes would give.
#include "daemon/lab/cluster.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <array>
#include <time.h>

namespace orlop::lab {

namespace {

constexpr std::string_view alphabet = "bcdfghjklmnpqrstvwxz2456789";

void fill_random(unsigned char* bytes, std::size_t size) {
    // At most 256 bytes never block nor come short once the pool is seeded (getrandom(2)).
    [[maybe_unused]] const ssize_t count = ::getrandom(bytes, size, 0);
}

class Fnv {
public:
    void add(std::string_view text) {
        for (const char c : text) {
            step(static_cast<unsigned char>(c));
        }
        step(0x1f);  // keeps "a","bc" apart from "ab","c"
    }
    void add(const Labels& labels) {
        for (const auto& [name, value] : labels) {
            add(name);
            add(value);
        }
    }
    std::uint64_t value() const { return value_; }

private:
    void step(unsigned char byte) { value_ = (value_ ^ byte) * 1099511628211ULL; }
    std::uint64_t value_ = 14695981039346656037ULL;
};

}  // namespace

std::string now_rfc3339() {
    const time_t now = ::time(nullptr);
    tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

std::string random_uuid() {
    std::array<unsigned char, 16> b{};
    fill_random(b.data(), b.size());
    b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);  // RFC 9562: version 4
    b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);  // and its variant
    std::string text;
    for (std::size_t i = 0; i < b.size(); ++i) {
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    }
    return text;
}

std::string random_suffix(int letters) {
    std::string text;
    for (int i = 0; i < letters; ++i) {
        unsigned char byte = 0;
        fill_random(&byte, 1);
        text += alphabet[byte % alphabet.size()];
    }
    return text;
}

std::string hash_of(const PodTemplate& pod) {
    Fnv hash;
    hash.add(pod.labels);
    hash.add(pod.annotations);
    hash.add(pod.service_account);
    hash.add(pod.node_name);
    for (const Container& container : pod.containers) {
        hash.add(container.name);
        hash.add(container.image);
        for (const auto* words : {&container.command, &container.args}) {
            for (const std::string& word : *words) {
                hash.add(word);
            }
        }
        for (const EnvVar& variable : container.env) {
            hash.add(variable.name);
            hash.add(variable.value);
            hash.add(variable.field_path);
        }
        for (const ContainerPort& port : container.ports) {
            hash.add(port.name);
            hash.add(std::to_string(port.port));
        }
        hash.add(container.probes_yaml);
    }
    std::string text;
    std::uint64_t rest = hash.value();
    for (int i = 0; i < 10; ++i) {
        text += alphabet[rest % alphabet.size()];
        rest /= alphabet.size();
    }
    return text;
}

}  // namespace orlop::lab
