#include "mtls/record_framer.h"

#include "daemon/base/limits.h"

#include <algorithm>

namespace orlop::mtls {
namespace {

constexpr std::size_t header_bytes = 5;
// RFC 8446 §5.2: a protected record may be 256 bytes longer than its plaintext.
constexpr std::size_t payload_bytes_max = limits::tls_record_bytes_max + 256;

// Type ChangeCipherSpec to application data, legacy version 3.x.
bool is_header(std::span<const std::uint8_t> header) {
    return header[0] >= 20 && header[0] <= 23 && (header.size() < 2 || header[1] == 3);
}

std::size_t payload_bytes(std::span<const std::uint8_t> header) {
    return static_cast<std::size_t>(header[3]) << 8 | header[4];
}

}  // namespace

RecordFramer::Offer RecordFramer::offer(std::span<const std::uint8_t> bytes) {
    if (whole_) {
        return {std::span(partial_).subspan(partial_read_), 0, false};
    }
    if (!partial_.empty()) {
        return gather(bytes);
    }
    std::size_t whole = 0;
    while (whole < bytes.size()) {
        auto rest = bytes.subspan(whole);
        if (!is_header(rest)) {
            return {bytes.first(whole), 0, whole == 0};
        }
        if (rest.size() < header_bytes || rest.size() < header_bytes + payload_bytes(rest)) {
            break;
        }
        if (payload_bytes(rest) > payload_bytes_max) {
            return {bytes.first(whole), 0, whole == 0};
        }
        whole += header_bytes + payload_bytes(rest);
    }
    if (whole != 0 || bytes.empty()) {
        return {bytes.first(whole), 0, false};
    }
    return gather(bytes);
}

RecordFramer::Offer RecordFramer::gather(std::span<const std::uint8_t> bytes) {
    Offer offer;
    auto take = [&](std::size_t total) {
        std::size_t count = total > partial_.size() ? total - partial_.size() : 0;
        count = std::min(count, bytes.size() - offer.copied);
        auto part = bytes.subspan(offer.copied, count);
        partial_.insert(partial_.end(), part.begin(), part.end());
        offer.copied += count;
        return partial_.size() >= total;
    };
    bool header = take(header_bytes);
    if (!partial_.empty() && !is_header(partial_)) {
        offer.malformed = true;
        return offer;
    }
    if (!header) {
        return offer;
    }
    std::size_t payload = payload_bytes(partial_);
    if (payload > payload_bytes_max) {
        offer.malformed = true;
        return offer;
    }
    partial_.reserve(header_bytes + payload);
    if (take(header_bytes + payload)) {
        whole_ = true;
        offer.records = partial_;
    }
    return offer;
}

std::size_t RecordFramer::consumed(std::size_t count) {
    if (!whole_) {
        return count;
    }
    partial_read_ += count;
    if (partial_read_ == partial_.size()) {
        partial_.clear();
        partial_read_ = 0;
        whole_ = false;
    }
    return 0;
}

void RecordFramer::release_idle() {
    if (partial_.empty()) {
        std::vector<std::uint8_t>().swap(partial_);
    }
}

}  // namespace orlop::mtls
