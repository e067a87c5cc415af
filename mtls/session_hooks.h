// Functions OpenSSL calls in the middle of a session; defined in session.cc. Private to mtls.
#pragma once

#include "daemon/base/error.h"

#include <cstddef>
#include <string>
#include <vector>

struct ssl_session_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace orlop::mtls {

// Replaces OpenSSL's chain check. Returns 1 to accept.
int verify_peer_in_handshake(x509_store_ctx_st* path, void* unused);
// The same for peers outside the mesh: OpenSSL's check, then the names of the terms.
int verify_foreign_in_handshake(x509_store_ctx_st* path, void* unused);
// Keeps a ticket for the session's resumption key. Returns 1 when it took ownership.
int store_client_session(ssl_st* ssl, ssl_session_st* session);
// RFC 7301 §3.1: length-prefixed names.
Result<std::string> encode_alpn(const std::vector<std::string>& names);
// Picks the first of ours that the client offers; fails the handshake when there is none.
int select_alpn(ssl_st* ssl,
                const unsigned char** chosen,
                unsigned char* chosen_size,
                const unsigned char* offered,
                unsigned offered_size,
                void* context_parts);
// Counts the peer's post-handshake messages.
void count_message(int written,
                   int version,
                   int content_type,
                   const void* data,
                   std::size_t size,
                   ssl_st* ssl,
                   void* unused);

}  // namespace orlop::mtls
