#include "daemon/codec/h1/body.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace orlop::h1 {
namespace {

struct Outcome {
    BodyState state = BodyState::need_more;
    Reason reason = Reason::none;
    std::string payload;
    std::string trailers;
    std::size_t consumed = 0;
};

// Feeds `text` in pieces of `piece` bytes, keeping what is not consumed, as a connection does.
Outcome decode(BodyDecoder body, std::string_view text, std::size_t piece) {
    Outcome outcome;
    std::size_t received = 0;
    for (std::size_t turn = 0; turn < 4 * text.size() + 8; ++turn) {
        const std::string input(text.substr(outcome.consumed, received - outcome.consumed));
        const BodyStep step = body.next(input);
        outcome.payload += step.payload;
        outcome.consumed += step.consumed;
        outcome.state = step.state;
        outcome.reason = step.reason;
        if (step.state == BodyState::complete || step.state == BodyState::refused) {
            for (const Field& field : body.trailers()) {
                outcome.trailers += std::string(field.name) + "=" + std::string(field.value) + ";";
            }
            return outcome;
        }
        if (step.state == BodyState::need_more) {
            if (received == text.size()) {
                return outcome;
            }
            received = std::min(text.size(), received + piece);
        }
    }
    ADD_FAILURE() << "no progress";
    return outcome;
}

BodyDecoder chunked() {
    return BodyDecoder(Framing::chunked, 0);
}

TEST(Body, without_one_takes_no_byte) {
    const Outcome outcome = decode(BodyDecoder(), "GET / HTTP/1.1", 99);
    EXPECT_EQ(outcome.state, BodyState::complete);
    EXPECT_EQ(outcome.consumed, 0U);
    EXPECT_EQ(decode(BodyDecoder(Framing::length, 0), "GET", 9).consumed, 0U);
}

TEST(Body, of_a_length_leaves_the_pipelined_bytes) {
    for (const std::size_t piece : {1, 3, 100}) {
        const Outcome outcome = decode(BodyDecoder(Framing::length, 5), "helloGET /", piece);
        EXPECT_EQ(outcome.state, BodyState::complete);
        EXPECT_EQ(outcome.payload, "hello");
        EXPECT_EQ(outcome.consumed, 5U);
    }
}

TEST(Body, in_chunks_is_the_same_however_it_arrives) {
    const std::string text =
        "5;ext=\"a b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-sum: 7\r\ngrpc-status: 0\r\n\r\nNEXT";
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        const Outcome outcome = decode(chunked(), text, piece);
        EXPECT_EQ(outcome.state, BodyState::complete) << piece;
        EXPECT_EQ(outcome.payload, "hello0123456789") << piece;
        EXPECT_EQ(outcome.trailers, "x-sum=7;grpc-status=0;") << piece;
        EXPECT_EQ(outcome.consumed, text.size() - 4) << piece;
    }
}

TEST(Body, refuses_odd_chunks_in_any_segmentation) {
    using namespace std::string_view_literals;
    const std::pair<std::string_view, Reason> cases[] = {
        {"\r\n", Reason::bad_chunk_size},
        {";a\r\n", Reason::bad_chunk_size},
        {"0x5\r\nhello\r\n", Reason::bad_chunk_size},
        {" 5\r\nhello\r\n", Reason::bad_chunk_size},
        {"5 \r\nhello\r\n", Reason::bad_chunk_size},
        {"-5\r\n", Reason::bad_chunk_size},
        {"+5\r\n", Reason::bad_chunk_size},
        {"5_0\r\n", Reason::bad_chunk_size},
        {"10000000000000005\r\nhello", Reason::bad_chunk_size},
        {"ffffffffffffffff\r\n", Reason::bad_chunk_size},
        {"5\nhello\r\n", Reason::bad_chunk_size},
        {"5;a\nhello\r\n", Reason::bare_line_feed},
        {"5;a\0b\r\nhello\r\n"sv, Reason::bad_chunk_size},
        {"5\rX\nhello", Reason::bare_line_feed},
        {"5\r\nhelloX\r\n", Reason::missing_chunk_end},
        {"5\r\nhello\n0\r\n\r\n", Reason::missing_chunk_end},
        {"5\r\nhello\rX", Reason::missing_chunk_end},
        {"0\r\nhost: x\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\nContent-Length: 5\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\nAuthorization: x\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\nX-Forwarded-Proto: x\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\nx-envoy-anything: x\r\n\r\n", Reason::forbidden_trailer},
        {"0\r\na : b\r\n\r\n", Reason::space_before_colon},
        {"0\r\n: b\r\n\r\n", Reason::empty_field_name},
        {"0\r\na: b\n\r\n", Reason::bare_line_feed},
        {"0\r\na: b\r\n c\r\n\r\n", Reason::folded_line},
    };
    for (const auto& [text, reason] : cases) {
        for (const std::size_t piece : {std::size_t{1}, text.size()}) {
            const Outcome outcome = decode(chunked(), text, piece);
            EXPECT_EQ(outcome.state, BodyState::refused) << text << " by " << piece;
            EXPECT_EQ(reason_text(outcome.reason), reason_text(reason)) << text << " by " << piece;
        }
    }
}

TEST(Body, bounds_chunk_lines_and_trailers) {
    const std::string line = "5;" + std::string(limits::http_chunk_line_bytes_max, 'a');
    EXPECT_EQ(decode(chunked(), line, 4096).reason, Reason::chunk_line_too_long);
    EXPECT_EQ(decode(chunked(), line + "\r\nhello\r\n", 9999).reason, Reason::chunk_line_too_long);
    const std::string big = "0\r\na: " + std::string(limits::http_trailer_bytes_max, 'a');
    EXPECT_EQ(decode(chunked(), big, 9999).reason, Reason::trailers_too_large);
    std::string many = "0\r\n";
    for (std::size_t i = 0; i <= trailers_max; ++i) {
        many += "a: b\r\n";
    }
    EXPECT_EQ(decode(chunked(), many, 9999).reason, Reason::trailers_too_large);
}

TEST(Body, refuses_a_flood_of_extensions_but_not_small_chunks) {
    std::string flood;
    std::string small;
    const std::string extension(900, 'e');
    for (int i = 0; i < 40; ++i) {
        flood += "1;" + extension + "\r\nx\r\n";
    }
    for (int i = 0; i < 5000; ++i) {
        small += "1\r\nx\r\n";
    }
    EXPECT_EQ(decode(chunked(), flood, flood.size()).reason, Reason::chunk_overhead);
    const Outcome outcome = decode(chunked(), small + "0\r\n\r\n", small.size() + 9);
    EXPECT_EQ(outcome.state, BodyState::complete);
    EXPECT_EQ(outcome.payload.size(), 5000U);
}

TEST(Body, that_ends_with_the_connection_is_complete_and_others_are_truncated) {
    BodyDecoder open(Framing::until_close, 0);
    EXPECT_EQ(open.next("abc").payload, "abc");
    EXPECT_EQ(open.next("").state, BodyState::need_more);
    EXPECT_EQ(open.at_end_of_stream().state, BodyState::complete);
    EXPECT_TRUE(open.complete());
    BodyDecoder length(Framing::length, 5);
    EXPECT_EQ(length.next("abc").payload, "abc");
    EXPECT_EQ(length.remaining(), 2U);
    EXPECT_EQ(length.at_end_of_stream().reason, Reason::truncated_body);
    EXPECT_EQ(length.next("de").state, BodyState::refused) << "a refusal is final";
    BodyDecoder cut = chunked();
    EXPECT_EQ(cut.next("0\r\n").state, BodyState::need_more);
    EXPECT_EQ(cut.at_end_of_stream().reason, Reason::truncated_body);
}

}  // namespace
}  // namespace orlop::h1
