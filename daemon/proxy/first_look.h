// first_look(): which protocol a connection begins with.
//
// Waits for the first bytes: a little on a port whose protocol nobody declared, where a silent
// client is served as bytes since it may be waiting for the server to speak first; as long as for
// any idle connection on a port declared http. `undecided` when the wait was in vain. Nothing is
// consumed.
#pragma once

#include "daemon/codec/client_hello.h"
#include "daemon/codec/h1/head.h"
#include "daemon/proxy/conversation.h"

namespace orlop::proxy {

runtime::Task<h1::Looks> first_look(Conversation& conversation, std::int64_t wait_ms);

// The ClientHello of a caller that should begin with one; `need_more` when it ended, or said
// nothing for as long as a handshake may take. Nothing is consumed.
runtime::Task<tls::ClientHello> await_client_hello(Conversation& conversation);

}  // namespace orlop::proxy
