// Status as a Message and back: a record is its kind's word followed by its fields in order.
#pragma once

#include "daemon/base/error.h"
#include "daemon/lab/lab.h"
#include "daemon/lab/wire.h"

namespace orlop::lab {

void append_status(const Status& status, Message& message);
Result<Status> read_status(const Message& message);

}  // namespace orlop::lab
