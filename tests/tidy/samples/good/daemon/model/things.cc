#include "daemon/model/things.h"

#include "daemon/base/limits.h"

namespace orlop {

struct Task {};

static_assert(limits::things_max == 64'000 / 1'000, "digit separators are not quotes");

#ifdef ORLOP_ODD
int twisted(int x) {
#else
int twisted(int x, char c = '{') {
#endif
    auto plain = [x](int y) { return x + y; };
    auto coroutine = [](Options options) -> Task { co_return; };
    int table[2] = {1, 2};
    if (x > 0) {
        for (int i : {1, 2, 3}) {
            while (i-- > 0) {
                switch (table[i % 2]) {
                case 1:
                    return plain(i);
                default:
                    break;
                }
            }
        }
    } else if (x < -1) {
        return c;
    }
    return 0;
}

} // namespace orlop
