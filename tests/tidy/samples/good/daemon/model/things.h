// A thing, and everything the lexer might trip over.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace orlop {

enum class Colour : std::uint8_t { red, green };

struct Options {
    bool loud = false;
    std::vector<int> numbers{1, 2, 3};
};

template <class T = int> class Things {
public:
    explicit Things(Options options) : options_{options}, size_(0), name_{"}{"} {}

    bool operator==(const Things& other) const { return size_ == other.size_; }

    void each(std::function<void(bool)> visit) const;
    [[nodiscard]] bool empty() const { return size_ == 0; }

private:
    Options options_;
    int size_;
    std::string name_;
};

// A coroutine lambda without captures takes what it needs as parameters.
inline const char* raw = R"x(
    if (a) { { { { { { TEXT in a string is not code: using namespace std; co_await
)x";

} // namespace orlop
