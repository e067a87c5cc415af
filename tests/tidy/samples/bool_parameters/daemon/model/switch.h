#pragma once
#include <functional>
namespace orlop {
void set(int value, bool loud);
class Switch {
public:
    explicit Switch(bool on);
    bool is_on() const;
    void each(std::function<void(bool)> visit);
    void wide(int a,
              const bool& b = true, int c = 0);
    bool fine() const { return check(true); }
    bool on = false;
};
template <class T> void call(T&& thing, int n = f(bool(1)));
} // namespace orlop
