// SessionParts: what a TlsSession is made of. Private to mtls.
#pragma once

#include "mtls/openssl.h"
#include "mtls/record_framer.h"
#include "mtls/session.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::mtls {

enum class Phase : unsigned char { handshaking, established, peer_closed, failed };

struct SessionParts {
    std::shared_ptr<TlsContext> context;
    PeerRole peer_role;
    ExpectedPeer expected;
    std::string resumption_key;
    WallTime now;
    Owned<ssl_st> ssl;

    ~SessionParts();

    Phase phase = Phase::handshaking;
    bool handshake_done = false;
    bool notified_close = false;
    std::optional<Error> error;
    std::optional<PeerRefusal> refusal;
    std::optional<PeerIdentity> peer;

    RecordFramer framer;                  // holds at most one partial record
    std::span<const std::uint8_t> input;  // whole records OpenSSL may read now
    std::span<std::uint8_t> room;         // the caller's buffer during send()
    std::vector<std::uint8_t> pending;    // output that found no room
    std::size_t pending_sent = 0;
    std::size_t handshake_bytes = 0;
    std::uint64_t plaintext_bytes = 0;
    std::uint64_t post_handshake_messages = 0;
    std::uint64_t records_under_key = 0;
    std::string_view limit_reached;  // name of the bound, when one stopped OpenSSL

    // Whether OpenSSL can go on, in the words of receive().
    enum class Step : unsigned char { progress, needs_input, needs_room, closed, failed };
    Step advance_handshake();
    Step decrypt(std::span<std::uint8_t> plaintext, std::size_t& produced);
    void finish_handshake();
    bool over_limit(std::size_t incoming);
    void fail_with(Error reason);
    void fail_from_openssl();
    std::expected<PeerIdentity, PeerRefusal> check_peer(x509_st* leaf, stack_st_X509* sent);
    std::size_t flush_pending(std::span<std::uint8_t> encrypted);
    void append_output(std::span<const std::uint8_t> bytes);
};

}  // namespace orlop::mtls
