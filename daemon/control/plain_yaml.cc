#include "daemon/control/plain_yaml.h"

#include "daemon/control/tree_builder.h"

#include <array>
#include <cstddef>
#include <string>

namespace orlop::control {
namespace {

// yaml-cpp takes a key for one only within 1024 characters of its line.
constexpr std::size_t key_bytes_max = 512;

constexpr std::array<bool, 256> table_of(std::string_view also) {
    std::array<bool, 256> table{};
    for (unsigned c = 0; c < table.size(); ++c) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        table[c] = alnum || also.find(static_cast<char>(c)) != std::string_view::npos;
    }
    return table;
}
constexpr auto starts_scalar = table_of("_./");
constexpr auto in_key = table_of("_./-");
constexpr auto in_block_scalar = table_of("_./-+*=@%()~$^&!|<>?,;[]{}'\"`\\ :#");
constexpr auto in_flow_scalar = table_of("_./-+*=@%()~$^;\\ :");

bool is_in(const std::array<bool, 256>& table, char c) {
    return table[static_cast<unsigned char>(c)];
}

bool is_null_text(std::string_view text) {
    return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

// Every function that parses returns false to give up.
class PlainReader {
public:
    explicit PlainReader(std::string_view text) : text_(text) {}

    bool read() {
        next_line();
        if (at_marker()) {
            skip_marker();
        }
        while (!ended_) {
            if (at_marker()) {
                return false;  // an empty document
            }
            if (gave_up_ || !document()) {
                return false;
            }
            if (ended_) {
                break;
            }
            if (!at_marker() || !skip_marker() || ended_) {
                return false;
            }
        }
        return !gave_up_ && documents_ > 0;
    }

    std::vector<Node> take() { return builder_.take_documents(); }

private:
    char peek(std::size_t ahead = 0) const {
        return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\n';
    }
    Place here() const { return {line_, static_cast<int>(at_ - line_start_) + 1}; }
    bool at_end_of_line() const { return peek() == '\n'; }

    void skip_spaces() {
        while (peek() == ' ') {
            ++at_;
        }
    }

    // To the first character of the next line that says something; indent_ is its column.
    void next_line() {
        while (next_begin_ < text_.size()) {
            line_start_ = next_begin_;
            std::size_t end = text_.find('\n', line_start_);
            next_begin_ = end == std::string_view::npos ? text_.size() : end + 1;
            ++line_;
            at_ = line_start_;
            skip_spaces();
            if (at_ < text_.size() && !at_end_of_line() && peek() != '#') {
                indent_ = at_ - line_start_;
                gave_up_ = gave_up_ || (indent_ == 0 && peek() == '.' && peek(1) == '.');
                return;
            }
        }
        ended_ = true;
        at_ = text_.size();
        indent_ = 0;
    }

    // At the end of a value: nothing more on this line but a comment; then to the next line.
    bool finish_line() {
        bool spaced = peek() == ' ';
        skip_spaces();
        if (!at_end_of_line() && !(spaced && peek() == '#')) {
            return false;
        }
        next_line();
        return !gave_up_;
    }

    bool at_marker() const {
        return !ended_ && indent_ == 0 && text_.substr(at_, 3) == "---" &&
               (peek(3) == '\n' || peek(3) == ' ');
    }
    bool skip_marker() {
        at_ += 3;
        return finish_line() || give_up();
    }
    bool give_up() {
        gave_up_ = true;
        return false;
    }

    // True when the block goes on at `column`; to be in deeper is no part of it.
    bool goes_on(std::size_t column) const { return !ended_ && indent_ == column && !at_marker(); }
    bool is_entry() const { return peek() == '-' && (peek(1) == ' ' || peek(1) == '\n'); }

    bool document() {
        ++documents_;
        builder_.begin_document(here());
        bool good = block(indent_);
        builder_.end_document();
        return good && (ended_ || at_marker());
    }

    bool block(std::size_t column) { return is_entry() ? list(column) : map(column); }

    bool list(std::size_t column) {
        builder_.open(Node::Kind::list, here());
        do {
            if (!is_entry()) {
                break;
            }
            ++at_;
            skip_spaces();
            if (at_end_of_line() || peek() == '#' || is_entry() || !entry()) {
                return false;
            }
            if (!ended_ && indent_ > column) {
                return false;
            }
        } while (goes_on(column));
        builder_.close();
        return true;
    }

    // What follows "- ": a map that begins on this line, or a value.
    bool entry() {
        std::size_t begin = at_;
        std::string_view key;
        Node::Style style{};
        bool starts_map = read_key(key, style);
        at_ = begin;
        return starts_map ? map(begin - line_start_) : value(Within::block) && finish_line();
    }

    // At the first key of a map whose keys are all in this column.
    bool map(std::size_t column) {
        builder_.open(Node::Kind::map, here());
        do {
            if (!key() || !field_value(column)) {
                return false;
            }
            if (!ended_ && indent_ > column) {
                return false;
            }
        } while (goes_on(column));
        builder_.close();
        return true;
    }

    // From behind the colon to the line after the value.
    bool field_value(std::size_t column) {
        bool spaced = peek() == ' ';
        skip_spaces();
        if (!at_end_of_line() && !(spaced && peek() == '#')) {
            return spaced && !is_entry() && value(Within::block) && finish_line();
        }
        next_line();
        if (ended_ || gave_up_ || at_marker()) {
            return false;
        }
        bool same_column = indent_ == column && is_entry();
        return (indent_ > column || same_column) && block(indent_);
    }

    // A key with its colon, of a block. False may just mean that this is none.
    bool read_key(std::string_view& key, Node::Style& style) {
        style = Node::Style::plain;
        if (peek() == '"' || peek() == '\'') {
            style = Node::Style::quoted;
            if (!quoted_text(key)) {
                return false;
            }
        } else if (is_in(starts_scalar, peek())) {
            std::size_t begin = at_;
            while (is_in(in_key, peek())) {
                ++at_;
            }
            key = text_.substr(begin, at_ - begin);
            if (is_null_text(key)) {
                return false;
            }
        } else {
            return false;
        }
        if (key.size() > key_bytes_max || peek() != ':' || (peek(1) != ' ' && peek(1) != '\n')) {
            return false;
        }
        ++at_;
        return true;
    }

    // Reads a key and says so.
    bool key() {
        Place place = here();
        std::string_view text;
        Node::Style style{};
        if (!read_key(text, style)) {
            return false;
        }
        builder_.scalar(place, style, std::string(text));
        return true;
    }

    enum class Within { block, flow };

    // One line's value.
    bool value(Within within) {
        char c = peek();
        if (c == '{' || c == '[') {
            return flow();
        }
        if (c == '"' || c == '\'') {
            return quoted();
        }
        if (!is_in(starts_scalar, c) && !(c == '-' && is_in(starts_scalar, peek(1)))) {
            return false;
        }
        Place place = here();
        std::size_t begin = at_;
        bool ends_well = within == Within::block ? skip_block_scalar() : skip_flow_scalar();
        return ends_well && plain(place, begin);
    }

    bool skip_block_scalar() {
        while (is_in(in_block_scalar, peek())) {
            if (peek() == ':' && (peek(1) == ' ' || peek(1) == '\n')) {
                return false;  // a map within a line, or a mistake
            }
            if (peek() == '#' && text_[at_ - 1] == ' ') {
                break;
            }
            ++at_;
        }
        return at_end_of_line() || peek() == '#';
    }

    bool skip_flow_scalar() {
        while (is_in(in_flow_scalar, peek())) {
            if (peek() == ':' && !is_in(starts_scalar, peek(1))) {
                return false;
            }
            ++at_;
        }
        return peek() == ',' || peek() == '}' || peek() == ']';
    }

    // The text from `begin` to here, without the spaces at its end, which are given back.
    bool plain(Place place, std::size_t begin) {
        while (text_[at_ - 1] == ' ') {
            --at_;
        }
        std::string_view text = text_.substr(begin, at_ - begin);
        if (is_null_text(text)) {
            builder_.null(place);
        } else {
            builder_.scalar(place, Node::Style::plain, std::string(text));
        }
        return true;
    }

    // Between quotes on this line, without escapes.
    bool quoted_text(std::string_view& text) {
        char quote = peek();
        std::size_t begin = ++at_;
        while (peek() != quote) {
            auto c = static_cast<unsigned char>(peek());
            if (c < 0x20 || c > 0x7e || c == '\\') {
                return false;
            }
            ++at_;
        }
        text = text_.substr(begin, at_ - begin);
        ++at_;
        return peek() != quote;
    }

    bool quoted() {
        Place place = here();
        std::string_view text;
        if (!quoted_text(text)) {
            return false;
        }
        builder_.scalar(place, Node::Style::quoted, std::string(text));
        return true;
    }

    // --- within a line ---

    bool flow() {
        bool is_map = peek() == '{';
        builder_.open(is_map ? Node::Kind::map : Node::Kind::list, here());
        ++at_;
        skip_spaces();
        char end = is_map ? '}' : ']';
        if (peek() != end) {
            while (true) {
                if ((is_map && !flow_key()) || !value(Within::flow)) {
                    return false;
                }
                skip_spaces();
                if (peek() == end) {
                    break;
                }
                if (peek() != ',') {
                    return false;
                }
                ++at_;
                skip_spaces();
            }
        }
        ++at_;
        builder_.close();
        return true;
    }

    bool flow_key() {
        if (!key() || peek() != ' ') {
            return false;
        }
        skip_spaces();
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t line_start_ = 0;
    std::size_t next_begin_ = 0;
    std::size_t indent_ = 0;
    int line_ = 0;
    std::size_t documents_ = 0;
    bool ended_ = false;
    bool gave_up_ = false;
    TreeBuilder builder_;
};

}  // namespace

std::optional<std::vector<Node>> parse_plain_yaml(std::string_view text) {
    if (text.contains('\r')) {
        return std::nullopt;  // a line's end to some versions of yaml-cpp, even in a comment
    }
    try {
        PlainReader reader(text);
        if (reader.read()) {
            return reader.take();
        }
    } catch (const Refusal&) {
        // yaml-cpp's events lead to the same one.
    }
    return std::nullopt;
}

}  // namespace orlop::control
