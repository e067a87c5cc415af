#include "daemon/control/objects/header_text.h"

#include "daemon/base/limits.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace orlop::control {
namespace {

using Operator = model::HeaderText::Operator;
using Piece = model::HeaderText::Piece;

enum class Argument : unsigned char { none, field, format };

struct Word {
    std::string_view name;
    Operator op;
    Argument argument = Argument::none;
};

constexpr Word words[] = {
    {"REQ", Operator::request_header, Argument::field},
    {"RESP", Operator::response_header, Argument::field},
    {"PROTOCOL", Operator::protocol},
    {"RESPONSE_CODE", Operator::response_code},
    {"RESPONSE_CODE_DETAILS", Operator::response_code_details},
    {"RESPONSE_FLAGS", Operator::response_flags},
    {"ROUTE_NAME", Operator::route_name},
    {"UPSTREAM_CLUSTER", Operator::upstream_cluster},
    {"UPSTREAM_CLUSTER_RAW", Operator::upstream_cluster},
    {"UPSTREAM_HOST", Operator::upstream_host},
    {"UPSTREAM_REMOTE_ADDRESS", Operator::upstream_host},
    {"DOWNSTREAM_REMOTE_ADDRESS", Operator::downstream_remote_address},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Operator::downstream_remote_address_without_port},
    {"DOWNSTREAM_LOCAL_ADDRESS", Operator::downstream_local_address},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Operator::downstream_local_address_without_port},
    {"REQUESTED_SERVER_NAME", Operator::requested_server_name},
    {"START_TIME", Operator::start_time, Argument::format},
    {"HOSTNAME", Operator::hostname},
    {"STREAM_ID", Operator::stream_id},
    {"BYTES_RECEIVED", Operator::bytes_received},
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", Operator::attempt_count},
};

bool is_field_name(std::string_view name) {
    std::string_view bare = name.starts_with(':') ? name.substr(1) : name;
    return !bare.empty() && std::ranges::all_of(bare, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
}

// `(X-FORWARDED-PROTO?:SCHEME)` and `(x-user)`.
bool read_field(std::string_view argument, Piece& piece) {
    std::size_t question = argument.find('?');
    piece.text = to_lower(argument.substr(0, question));
    if (question != std::string_view::npos) {
        piece.alternative = to_lower(argument.substr(question + 1));
    }
    bool other_right = question == std::string_view::npos || is_field_name(piece.alternative);
    return is_field_name(piece.text) && other_right;
}

bool read_length(std::string_view text, Piece& piece) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), piece.bytes_max);
    return error == std::errc() && end == text.data() + text.size() && piece.bytes_max > 0;
}

void add_literal(std::vector<Piece>& pieces, std::string_view text) {
    if (text.empty()) {
        return;
    }
    if (pieces.empty() || pieces.back().op != Operator::literal) {
        pieces.emplace_back();
    }
    pieces.back().text += text;
}

// One operator without its percent signs: NAME, NAME(argument), NAME(argument):length.
std::optional<std::string> read_operator(std::string_view text, std::vector<Piece>& pieces) {
    std::size_t open = text.find('(');
    std::string_view name = text.substr(0, open);
    const Word* word = std::ranges::find(words, name, &Word::name);
    if (word == std::end(words)) {
        return fmt::format("%{:.60}% is no operator that can be filled in", text);
    }
    Piece piece;
    piece.op = word->op;
    std::string_view argument;
    if (open != std::string_view::npos) {
        std::size_t close = text.rfind(')');
        std::string_view rest =
            close == std::string_view::npos ? std::string_view() : text.substr(close + 1);
        bool sized = rest.starts_with(':') && word->argument == Argument::field &&
                     read_length(rest.substr(1), piece);
        if (close == std::string_view::npos || (!rest.empty() && !sized)) {
            return fmt::format("%{:.60}% does not end with ) or ):length", text);
        }
        argument = text.substr(open + 1, close - open - 1);
    }
    if (word->argument == Argument::none && open != std::string_view::npos) {
        return fmt::format("%{}% takes nothing in brackets", name);
    }
    if (word->argument == Argument::field && !read_field(argument, piece)) {
        return fmt::format("%{:.60}% names no header", text);
    }
    if (word->argument == Argument::format) {
        piece.text = std::string(argument);
    }
    pieces.push_back(std::move(piece));
    return std::nullopt;
}

}  // namespace

std::string header_operators() {
    std::string list;
    for (const Word& word : words) {
        list += fmt::format("{}%{}{}%",
                            list.empty() ? "" : ", ",
                            word.name,
                            word.argument == Argument::field ? "(header)" : "");
    }
    return list + "; %% is a percent sign";
}

std::optional<std::string> parse_header_text(std::string_view written, model::HeaderText& out) {
    out.text = std::string(written);
    out.pieces.clear();
    std::vector<Piece> pieces;
    while (!written.empty()) {
        std::size_t percent = std::min(written.find('%'), written.size());
        add_literal(pieces, written.substr(0, percent));
        written.remove_prefix(percent);
        if (written.empty()) {
            break;
        }
        if (written.starts_with("%%")) {
            add_literal(pieces, "%");
            written.remove_prefix(2);
            continue;
        }
        // A time format has percent signs of its own: the operator ends behind its bracket.
        std::size_t open = written.find_first_of("(%", 1);
        std::size_t from = open;
        if (open != std::string_view::npos && written[open] == '(') {
            from = written.find(')', open);
        }
        std::size_t close = written.find('%', std::min(from, written.size()));
        if (close == std::string_view::npos) {
            return fmt::format("\"{:.60}\" has a % without its second one", written);
        }
        if (auto wrong = read_operator(written.substr(1, close - 1), pieces)) {
            return wrong;
        }
        written.remove_prefix(close + 1);
    }
    if (pieces.size() > limits::header_text_pieces_max) {
        return fmt::format("more than {} operators in one value", limits::header_text_pieces_max);
    }
    bool plain = pieces.size() <= 1 && (pieces.empty() || pieces[0].op == Operator::literal);
    if (plain) {
        out.text = pieces.empty() ? std::string() : pieces[0].text;
    } else {
        out.pieces = std::move(pieces);
    }
    return std::nullopt;
}

}  // namespace orlop::control
