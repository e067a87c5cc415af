// RecordFramer: cuts a byte stream into whole TLS records without looking inside. Private to mtls.
//
// OpenSSL only ever sees whole records, so its buffers are empty between calls and may be freed at
// any time, and a peer that sends half a record costs us that half and nothing more. Records that
// arrived whole are offered in place; only a cut one is gathered in an own buffer.
//
//     auto offer = framer.offer(bytes);    // offer.copied bytes are taken already
//     size_t read = consume(offer.records);
//     taken += offer.copied + framer.consumed(read);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace orlop::mtls {

class RecordFramer {
public:
    struct Offer {
        std::span<const std::uint8_t> records;  // none, or whole ones
        std::size_t copied = 0;                 // of the input, kept inside
        bool malformed = false;                 // no TLS record (RFC 8446 §5.1)
    };

    Offer offer(std::span<const std::uint8_t> bytes);
    // The reader took `count` bytes of the last offer; returns how many were the caller's.
    std::size_t consumed(std::size_t count);
    bool has_whole_record() const { return whole_; }
    void release_idle();

private:
    Offer gather(std::span<const std::uint8_t> bytes);

    std::vector<std::uint8_t> partial_;
    std::size_t partial_read_ = 0;
    bool whole_ = false;  // partial_ holds one whole record, not all of it read
};

}  // namespace orlop::mtls
