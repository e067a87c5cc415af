#include "daemon/control/yaml_document.h"

#include "daemon/base/limits.h"
#include "daemon/control/plain_yaml.h"
#include "daemon/control/tree_builder.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <utility>

namespace orlop::control {
namespace {

bool is_known_tag(const std::string& tag) {
    static constexpr std::string_view core = "tag:yaml.org,2002:";
    if (tag.empty() || tag == "?" || tag == "!") {
        return true;
    }
    if (!tag.starts_with(core)) {
        return false;
    }
    auto type = std::string_view(tag).substr(core.size());
    return type == "str" || type == "int" || type == "bool" || type == "float" || type == "map" ||
           type == "seq" || type == "null";
}

bool is_string_tag(const std::string& tag) {
    return tag == "!" || tag == "tag:yaml.org,2002:str";
}

// From yaml-cpp's events to the builder.
class Adapter : public YAML::EventHandler {
public:
    explicit Adapter(TreeBuilder& builder) : builder_(builder) {}

    void OnDocumentStart(const YAML::Mark& mark) override { builder_.begin_document(at(mark)); }
    void OnDocumentEnd() override { builder_.end_document(); }
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        builder_.null(at(mark), anchor);
    }
    void OnScalar(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  const std::string& value) override {
        check_tag(tag, mark);
        builder_.scalar(
            at(mark), is_string_tag(tag) ? Node::Style::quoted : Node::Style::plain, value, anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        builder_.alias(at(mark), anchor);
    }
    void OnSequenceStart(const YAML::Mark& mark,
                         const std::string& tag,
                         YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        check_tag(tag, mark);
        builder_.open(Node::Kind::list, at(mark), anchor);
    }
    void OnSequenceEnd() override { builder_.close(); }
    void OnMapStart(const YAML::Mark& mark,
                    const std::string& tag,
                    YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        check_tag(tag, mark);
        builder_.open(Node::Kind::map, at(mark), anchor);
    }
    void OnMapEnd() override { builder_.close(); }

private:
    static Place at(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

    static void check_tag(const std::string& tag, const YAML::Mark& mark) {
        if (!is_known_tag(tag)) {
            throw Refusal{ErrorKind::invalid_input,
                          fmt::format("unknown tag {:.60}; leave it out", tag),
                          at(mark)};
        }
    }

    TreeBuilder& builder_;
};

// An istream over memory that we do not own, without a copy.
class ViewBuffer : public std::streambuf {
public:
    explicit ViewBuffer(std::string_view text) {
        char* begin = const_cast<char*>(text.data());  // never written through
        setg(begin, begin, begin + text.size());
    }
};

// Length of the UTF-8 sequence at `at`, 0 when it is malformed (RFC 3629).
std::size_t utf8_length(std::string_view text, std::size_t at) {
    auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    auto tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
    unsigned lead = byte(at);
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return tail(at + 1) ? 2 : 0;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        bool overlong = lead == 0xE0 && byte(at + 1) < 0xA0;
        bool surrogate = lead == 0xED && byte(at + 1) > 0x9F;
        return !overlong && !surrogate && tail(at + 1) && tail(at + 2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        bool overlong = lead == 0xF0 && byte(at + 1) < 0x90;
        bool beyond = lead == 0xF4 && byte(at + 1) > 0x8F;
        return !overlong && !beyond && tail(at + 1) && tail(at + 2) && tail(at + 3) ? 4 : 0;
    }
    return 0;
}

YamlError at_line(ErrorKind kind, std::string message, int line, int column) {
    return {
        Error{kind, fmt::format("line {}, column {}: {}", line, column, message)}, line, column};
}

// What the parser would only notice after spending memory: encodings, control characters, and
// brackets nested so deep that its look-ahead alone would exhaust us.
std::optional<YamlError> check_text(std::string_view text) {
    int line = 1;
    std::size_t line_start = 0;
    std::size_t open_brackets = 0;
    for (std::size_t at = 0; at < text.size();) {
        auto c = static_cast<unsigned char>(text[at]);
        int column = static_cast<int>(at - line_start) + 1;
        std::size_t length = utf8_length(text, at);
        if (length == 0) {
            return at_line(
                ErrorKind::invalid_input, "not UTF-8; save the file as UTF-8", line, column);
        }
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) {
            return at_line(ErrorKind::invalid_input,
                           fmt::format("control character 0x{:02x} is not allowed", c),
                           line,
                           column);
        }
        if (c == '[' || c == '{') {
            if (++open_brackets > limits::yaml_open_brackets_max) {
                return at_line(ErrorKind::limit_exceeded,
                               "too many open brackets (yaml_open_brackets_max)",
                               line,
                               column);
            }
        } else if ((c == ']' || c == '}') && open_brackets > 0) {
            --open_brackets;
        } else if (c == '\n') {
            ++line;
            line_start = at + 1;
        }
        at += length;
    }
    return std::nullopt;
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    for (char c : text) {
        switch (c) {
        case '"':
            out += "\\\"";
            break;
        case '\\':
            out += "\\\\";
            break;
        case '\n':
            out += "\\n";
            break;
        case '\t':
            out += "\\t";
            break;
        case '\r':
            out += "\\r";
            break;
        default:
            if (static_cast<unsigned char>(c) < 0x20) {
                out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
            } else {
                out += c;
            }
        }
    }
    out += '"';
}

bool is_json_number(std::string_view text) {
    std::size_t at = 0;
    auto digits = [&] {
        std::size_t begin = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
            ++at;
        }
        return at - begin;
    };
    if (at < text.size() && text[at] == '-') {
        ++at;
    }
    std::size_t whole_at = at;
    std::size_t whole = digits();
    if (whole == 0 || (whole > 1 && text[whole_at] == '0')) {
        return false;
    }
    if (at < text.size() && text[at] == '.') {
        ++at;
        if (digits() == 0) {
            return false;
        }
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
            ++at;
        }
        if (digits() == 0) {
            return false;
        }
    }
    return at == text.size();
}

bool is_typed_plain(const Node& node) {
    return node.style == Node::Style::plain &&
           (node.text == "true" || node.text == "false" || is_json_number(node.text));
}

void append_json(std::string& out, const Node& node) {
    switch (node.kind) {
    case Node::Kind::null:
        out += "null";
        break;
    case Node::Kind::scalar:
        if (is_typed_plain(node)) {
            out += node.text;
        } else {
            append_json_string(out, node.text);
        }
        break;
    case Node::Kind::list:
        out += '[';
        for (std::size_t i = 0; i < node.items.size(); ++i) {
            out += i == 0 ? "" : ",";
            append_json(out, node.items[i]);
        }
        out += ']';
        break;
    case Node::Kind::map:
        out += '{';
        for (std::size_t i = 0; i < node.fields.size(); ++i) {
            out += i == 0 ? "" : ",";
            append_json_string(out, node.fields[i].key);
            out += ':';
            append_json(out, node.fields[i].value);
        }
        out += '}';
        break;
    }
}

// Plain only when no YAML reader, of any version, could take the text for something else.
bool reads_as_plain(std::string_view text) {
    if (text.empty() || text.size() > 200) {
        return false;
    }
    bool letters = false;
    for (char c : text) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        letters = letters || letter;
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_' && c != '/') {
            return false;
        }
    }
    static constexpr std::string_view guessed[] = {
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"};
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    });
    bool first_is_letter = (lower[0] >= 'a' && lower[0] <= 'z') || lower[0] == '/';
    return letters && first_is_letter && std::ranges::find(guessed, lower) == std::end(guessed);
}

void append_yaml(std::string& out, const Node& node, std::size_t indent);

void append_scalar(std::string& out, const Node& node) {
    if (node.is_null()) {
        out += "null";
    } else if (is_typed_plain(node) || reads_as_plain(node.text)) {
        out += node.text;
    } else {
        append_json_string(out, node.text);
    }
}

void append_value(std::string& out, const Node& node, std::size_t indent) {
    if (node.is_map() && node.fields.empty()) {
        out += " {}\n";
    } else if (node.is_list() && node.items.empty()) {
        out += " []\n";
    } else if (node.is_map() || node.is_list()) {
        out += '\n';
        append_yaml(out, node, indent);
    } else {
        out += ' ';
        append_scalar(out, node);
        out += '\n';
    }
}

void append_yaml(std::string& out, const Node& node, std::size_t indent) {
    for (const Field& field : node.fields) {
        out.append(indent, ' ');
        if (reads_as_plain(field.key)) {
            out += field.key;
        } else {
            append_json_string(out, field.key);
        }
        out += ':';
        append_value(out, field.value, field.value.is_list() ? indent : indent + 2);
    }
    for (const Node& item : node.items) {
        out.append(indent, ' ');
        out += '-';
        if (item.is_map() && !item.fields.empty()) {
            std::string block;
            append_yaml(block, item, indent + 2);
            out += ' ';
            out += block.substr(indent + 2);
        } else {
            append_value(out, item, indent + 2);
        }
    }
    if (!node.is_map() && !node.is_list()) {
        append_scalar(out, node);
        out += '\n';
    }
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    for (const Field& field : fields) {
        if (field.key == key) {
            return &field.value;
        }
    }
    return nullptr;
}

std::string_view Node::text_of(std::string_view key) const {
    const Node* node = find(key);
    return node != nullptr && node->is_scalar() ? std::string_view(node->text) : std::string_view();
}

std::string Node::describe() const {
    switch (kind) {
    case Kind::null:
        return "null";
    case Kind::list:
        return "a list";
    case Kind::map:
        return "a map";
    case Kind::scalar:
        break;
    }
    std::string shown = "\"";
    for (char c : std::string_view(text).substr(0, 60)) {
        shown += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return shown + (text.size() > 60 ? "...\"" : "\"");
}

namespace {

// Without what a parser would trip over or waste memory on; the byte order mark is gone.
std::expected<std::string_view, YamlError> checked_text(std::string_view text) {
    if (text.size() > limits::yaml_file_bytes_max) {
        return std::unexpected(
            at_line(ErrorKind::limit_exceeded,
                    fmt::format("{} bytes, more than {} (yaml_file_bytes_max); split the file",
                                text.size(),
                                limits::yaml_file_bytes_max),
                    1,
                    1));
    }
    if (text.starts_with("\xEF\xBB\xBF")) {
        text.remove_prefix(3);
    }
    if (auto bad = check_text(text)) {
        return std::unexpected(std::move(*bad));
    }
    return text;
}

std::expected<std::vector<Node>, YamlError> parse_checked(std::string_view text) {
    try {
        ViewBuffer buffer(text);
        std::istream stream(&buffer);
        YAML::Parser parser(stream);
        TreeBuilder builder;
        Adapter adapter(builder);
        while (parser.HandleNextDocument(adapter)) {
        }
        return builder.take_documents();
    } catch (const Refusal& refusal) {
        return std::unexpected(
            at_line(refusal.kind, refusal.message, refusal.place.line, refusal.place.column));
    } catch (const YAML::Exception& error) {
        return std::unexpected(at_line(
            ErrorKind::invalid_input, error.msg, error.mark.line + 1, error.mark.column + 1));
    } catch (const std::exception& error) {
        return std::unexpected(at_line(ErrorKind::invalid_input, error.what(), 1, 1));
    }
}

}  // namespace

std::expected<std::vector<Node>, YamlError> parse_yaml(std::string_view text) {
    auto checked = checked_text(text);
    if (!checked) {
        return std::unexpected(std::move(checked.error()));
    }
    if (auto documents = parse_plain_yaml(*checked)) {
        return std::move(*documents);
    }
    return parse_checked(*checked);
}

std::expected<std::vector<Node>, YamlError> parse_all_yaml(std::string_view text) {
    auto checked = checked_text(text);
    return checked ? parse_checked(*checked) : std::unexpected(std::move(checked.error()));
}

std::string to_yaml(const Node& node) {
    std::string out;
    append_yaml(out, node, 0);
    return out;
}

std::string to_json(const Node& node) {
    std::string out;
    append_json(out, node);
    return out;
}

}  // namespace orlop::control
