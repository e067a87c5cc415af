// Which version of HTTP a request goes upstream in (istio-semantics §16, §5).
//
// Pure. The caller's own version counts where the port declares none and where useClientProtocol
// asks for it. With TLS inside the wire the names offered by ALPN decide, also over an upgrade: a
// server behind h2 sees a request that asks for none.
#pragma once

#include "daemon/model/destination.h"

namespace orlop::decide {

enum class HttpVersion : unsigned char { http1, http2 };
// Does the request ask to leave HTTP for another protocol? That has no form in HTTP/2 here.
enum class Upgrade : unsigned char { none, asked };

HttpVersion
upstream_version(const model::Destination& destination, HttpVersion caller, Upgrade upgrade);

}  // namespace orlop::decide
