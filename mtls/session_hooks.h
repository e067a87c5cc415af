// Functions OpenSSL calls in the middle of a session; defined in session.cc. Private to mtls.
#pragma once

#include <cstddef>

struct ssl_session_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace orlop::mtls {

// Replaces OpenSSL's chain check. Returns 1 to accept.
int verify_peer_in_handshake(x509_store_ctx_st* path, void* unused);
// Keeps a ticket for the session's resumption key. Returns 1 when it took ownership.
int store_client_session(ssl_st* ssl, ssl_session_st* session);
// Counts the peer's post-handshake messages.
void count_message(int written,
                   int version,
                   int content_type,
                   const void* data,
                   std::size_t size,
                   ssl_st* ssl,
                   void* unused);

}  // namespace orlop::mtls
