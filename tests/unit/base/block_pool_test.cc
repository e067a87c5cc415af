#include "daemon/base/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace orlop {
namespace {

TEST(BlockPool, blocks_of_one_size_are_reused) {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return;  // every block is the heap's, so that misuse is seen
#endif
    void* first = allocate_block(300);
    free_block(first, 300);
    void* second = allocate_block(260);  // same class of 128 bytes
    EXPECT_EQ(first, second);
    void* other = allocate_block(200);
    EXPECT_NE(other, second);
    free_block(second, 260);
    free_block(other, 200);
}

TEST(BlockPool, blocks_of_any_size_can_be_written_to_the_last_byte) {
    for (std::size_t bytes : {1u, 127u, 128u, 129u, 8063u, 8064u, 8065u, 8192u, 8193u, 100'000u}) {
        for (int round = 0; round < 3; ++round) {
            auto* block = static_cast<char*>(allocate_block(bytes));
            std::fill_n(block, bytes, 'x');
            free_block(block, bytes);
        }
    }
}

}  // namespace
}  // namespace orlop
