// PositionList: a list whose elements keep their positions from one generation to the next; a copy
// shares every block of elements that is not replaced in it.
//
// Lifetime: a value. Reading is safe from any thread; push_back() and Edit are for the thread that
// owns the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace orlop::model {

template <class T> class PositionList {
    static constexpr std::size_t block_size = 64;
    using Block = std::vector<T>;

public:
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const T& operator[](std::size_t at) const {
        return (*blocks_[at / block_size])[at % block_size];
    }

    class Iterator {
    public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        Iterator() = default;
        Iterator(const PositionList& list, std::size_t at) : list_(&list), at_(at) {}
        const T& operator*() const { return (*list_)[at_]; }
        Iterator& operator++() {
            ++at_;
            return *this;
        }
        Iterator operator++(int) { return {*list_, at_++}; }
        bool operator==(const Iterator& other) const { return at_ == other.at_; }

    private:
        const PositionList* list_ = nullptr;
        std::size_t at_ = 0;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size_}; }

    // Only while the list is made for the first time.
    std::uint32_t push_back(T element) {
        if (size_ % block_size == 0) {
            blocks_.push_back(std::make_shared<Block>());
            blocks_.back()->reserve(block_size);
        }
        blocks_.back()->push_back(std::move(element));
        return static_cast<std::uint32_t>(size_++);
    }

    class Edit {
    public:
        explicit Edit(PositionList& list) : list_(list), own_(list.blocks_.size()) {}
        void put(std::size_t at, T element) {
            auto& block = list_.blocks_[at / block_size];
            if (!own_[at / block_size]) {
                block = std::make_shared<Block>(*block);
                own_[at / block_size] = true;
            }
            (*block)[at % block_size] = std::move(element);
        }

    private:
        PositionList& list_;
        std::vector<bool> own_;
    };

private:
    std::vector<std::shared_ptr<Block>> blocks_;
    std::size_t size_ = 0;
};

}  // namespace orlop::model
