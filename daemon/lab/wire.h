// Framing between a Lab handle and the supervisor: a message is a list of texts.
//
// On the wire: 4 bytes length (host order; both ends are this machine), then each text followed by
// a NUL. Answers start with "ok" or "error". One request and one answer per connection; bounded by
// limits::lab_message_bytes_max; a silent peer is given up after 10 s of no progress.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

#include <string>
#include <string_view>
#include <vector>

namespace orlop::lab {

using Message = std::vector<std::string>;

enum class Wait : unsigned char { peer_limit, forever };

Result<void> send_message(int fd, const Message& message);
Result<Message> receive_message(int fd, Wait wait);

// A decimal number of a message or a file; `fallback` when it is none.
int number_of(std::string_view text, int fallback);

Result<UniqueFd> listen_on(const std::string& path);  // mode 0600
Result<UniqueFd> connect_to(const std::string& path);

}  // namespace orlop::lab
