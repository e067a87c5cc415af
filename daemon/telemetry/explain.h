// Explain: why the last requests of a core went the way they did.
//
// ExplainRing keeps the most recent exchanges of one core, at most
// limits::explain_records_per_core_max of them in limits::explain_bytes_per_core_max bytes, packed
// (the texts are copied, so no Snapshot is kept alive). Its pages become resident as they are used.
// Core: owned and called by one core's thread only; the admin thread sends the core a message that
// calls find_text() and answers with the text.
//
//     ring.add(record);                                         // when the exchange closes
//     std::optional<std::string> text = ring.find_text("6f1e..."); // newest with that request id
#pragma once

#include "daemon/base/limits.h"
#include "daemon/telemetry/request_record.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::telemetry {

class ExplainRing {
public:
    struct Bounds {
        std::size_t records_max = limits::explain_records_per_core_max;
        std::size_t bytes_max = limits::explain_bytes_per_core_max;
    };
    ExplainRing();
    explicit ExplainRing(const Bounds& bounds);

    void add(const RequestRecord& record);  // records without request_id (TCP) are skipped
    std::optional<std::string> find_text(std::string_view request_id) const;
    std::size_t size() const { return count_; }

private:
    struct Slot {  // no initialisers: the array stays untouched until used
        std::uint64_t id_hash;
        std::uint32_t offset;
        std::uint32_t size;
    };
    Slot& slot(std::size_t age) const { return slots_[(first_ + age) % bounds_.records_max]; }
    void drop_oldest();
    void make_room(std::size_t bytes);

    Bounds bounds_;
    std::unique_ptr<char[]> bytes_;
    std::unique_ptr<Slot[]> slots_;  // circular
    std::size_t first_ = 0;          // oldest
    std::size_t count_ = 0;
    std::size_t write_at_ = 0;
};

// The same text straight from a record, for logs and tests.
std::string explain_text(const RequestRecord& record);

}  // namespace orlop::telemetry
