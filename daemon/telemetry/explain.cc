#include "daemon/telemetry/explain.h"

#include "daemon/telemetry/access_log.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>

namespace orlop::telemetry {

namespace {

constexpr std::size_t record_text_bytes_max = 6 * 1024;   // all texts of one packed record
constexpr std::size_t record_fixed_bytes_max = 3 * 1024;  // numbers, addresses, text lengths
constexpr std::size_t packed_bytes_max = record_text_bytes_max + record_fixed_bytes_max;

std::uint64_t hash_id(std::string_view id) {
    std::uint64_t hash = 0xcbf29ce484222325ull;
    for (const char c : id) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    }
    return hash;
}

// Packer and Unpacker walk the same list of fields (see walk below), so the two cannot differ.
class Packer {
public:
    std::size_t operator()(std::string_view text) {
        const std::size_t size = std::min({text.size(), text_left_, RequestRecord::path_bytes_max});
        text_left_ -= size;
        (*this)(static_cast<std::uint16_t>(size));
        copy(text.data(), size);
        return size;
    }
    template <class T>
        requires std::is_trivially_copyable_v<T>
    void operator()(const T& value) {
        copy(&value, sizeof(value));
    }
    std::span<const char> bytes() const { return std::span(buffer_).first(size_); }
    bool fits() const { return !overflow_; }

private:
    void copy(const void* from, std::size_t size) {
        overflow_ = overflow_ || size > buffer_.size() - size_;
        if (!overflow_ && size != 0) {
            std::memcpy(buffer_.data() + size_, from, size);
            size_ += size;
        }
    }
    std::size_t text_left_ = record_text_bytes_max;
    std::size_t size_ = 0;
    bool overflow_ = false;
    std::array<char, packed_bytes_max> buffer_;
};

class Unpacker {
public:
    explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}
    std::size_t operator()(std::string_view& text) {
        std::uint16_t size = 0;
        (*this)(size);
        text = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return size;
    }
    template <class T>
        requires std::is_trivially_copyable_v<T>
    void operator()(T& value) {
        std::memcpy(&value, bytes_.data(), sizeof(value));
        bytes_.remove_prefix(sizeof(value));
    }

private:
    std::string_view bytes_;
};

template <class Archive, class Object> void walk_object(Archive& archive, Object& object) {
    if (archive(object.kind) == 0) {
        return;  // none was asked: most requests have a few of them at most
    }
    archive(object.ns);
    archive(object.name);
    archive(object.file);
    archive(object.line);
}

template <class Archive, class Try> void walk_try(Archive& archive, Try& one) {
    archive(one.endpoint);
    archive(one.endpoint_name);
    archive(one.outcome);
    archive(one.why);
    archive(one.note);
    archive(one.retry_reason);
    archive(one.status);
    archive(one.path);
    archive(one.skipped_unusable);
    archive(one.skipped_tried);
    archive(one.timer);
    archive(one.duration);
    archive(one.back_off);
}

// The fields an explanation shows. The id comes first: find_text() compares it alone.
template <class Archive, class Record> void walk(Archive& archive, Record& record) {
    archive(record.request_id);
    archive(record.started_wall);
    archive(record.duration);
    archive(record.method);
    archive(record.path);
    archive(record.authority);
    archive(record.status);
    archive(record.grpc_status);
    archive(record.flags);
    archive(record.details);
    archive(record.termination_details);
    archive(record.source_principal);
    archive(record.transport_failure);
    archive(record.route_name);
    archive(record.cluster);
    archive(record.path_taken);
    archive(record.direction);
    archive(record.source_workload);
    archive(record.source_namespace);
    archive(record.destination_workload);
    archive(record.destination_namespace);
    archive(record.generation);
    walk_object(archive, record.route_object);
    walk_object(archive, record.timeout_object);
    walk_object(archive, record.retry_object);
    walk_object(archive, record.policy_object);
    walk_object(archive, record.security_object);
    archive(record.authorization_note);
    walk_object(archive, record.limit_object);
    archive(record.actions);
    archive(record.route_timeout);
    archive(record.per_try_timeout);
    archive(record.retries_allowed);
    archive(record.tries);
    for (std::size_t i = 0; i < record.tries_listed(); ++i) {
        walk_try(archive, record.try_list[i]);
    }
}

// Text of a request on a terminal: controls would let a caller move the reader's cursor.
std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out.push_back(c);
        }
    }
    return out.empty() ? "-" : out;
}

std::string object_text(const ObjectText& object) {
    if (object.kind.empty()) {
        return "the mesh default";
    }
    const std::string_view slash = object.ns.empty() ? "" : "/";
    std::string text = fmt::format("{} {}{}{}", object.kind, object.ns, slash, object.name);
    if (!object.file.empty()) {
        text += fmt::format(" ({}:{})", object.file, object.line);
    }
    return text;
}

std::string ms_text(Duration duration) {
    return fmt::format("{:.3f} ms", static_cast<double>(duration.count()) / 1e6);
}

std::string try_text(const TryRecord& one, std::size_t number) {
    std::string text = fmt::format("try {:<6} ", number);
    if (one.back_off.count() > 0) {
        text += fmt::format("after a back-off of {}: ", ms_text(one.back_off));
    }
    text += one.endpoint.port == 0 ? std::string("no endpoint") : one.endpoint.to_string();
    if (!one.endpoint_name.empty()) {
        text += fmt::format(" ({})", one.endpoint_name);
    }
    if (!one.why.empty()) {
        text += fmt::format(", chosen by {}", one.why);
    }
    if (one.skipped_unusable != 0) {
        text += fmt::format(", {} out of rotation", one.skipped_unusable);
    }
    if (one.skipped_tried != 0) {
        text += fmt::format(", {} picks avoided as already tried", one.skipped_tried);
    }
    text += fmt::format(", path {}", path_taken_name(one.path));
    if (one.timer.count() > 0) {
        text += fmt::format(", timer {}", ms_text(one.timer));
    }
    text += fmt::format(
        ": {} in {}", one.outcome.empty() ? "no outcome" : one.outcome, ms_text(one.duration));
    if (!one.note.empty()) {
        text += fmt::format("; {}", printable(one.note));
    }
    if (!one.retry_reason.empty()) {
        text += fmt::format("; tried again on {}", one.retry_reason);
    }
    return text + "\n";
}

std::string decisions_text(const RequestRecord& record) {
    bool unrouted = record.route_name.empty() && record.route_object.kind == "Gateway";
    std::string text =
        fmt::format("route      {} {}\n",
                    unrouted                    ? "none at"
                    : record.route_name.empty() ? "default by"
                                                : std::string(record.route_name) + " by",
                    object_text(record.route_object));
    if (record.route_timeout) {
        text += fmt::format("timeout    {} by {}\n",
                            ms_text(*record.route_timeout),
                            object_text(record.timeout_object));
    } else {
        text += "timeout    none\n";
    }
    text += fmt::format("retries    up to {}", record.retries_allowed);
    if (record.per_try_timeout) {
        text += fmt::format(", {} per try", ms_text(*record.per_try_timeout));
    }
    text += fmt::format(" by {}\n", object_text(record.retry_object));
    text += fmt::format("cluster    {}", record.cluster.empty() ? "-" : record.cluster);
    text += fmt::format(", policy by {}\n", object_text(record.policy_object));
    if (!record.security_object.kind.empty()) {
        text += fmt::format("security   {}\n", object_text(record.security_object));
    }
    if (!record.authorization_note.empty()) {
        text += fmt::format("audit      {}\n", record.authorization_note);
    }
    if (!record.limit_object.kind.empty()) {
        text += fmt::format("limit      {}\n", object_text(record.limit_object));
    }
    if (!record.actions.empty()) {
        text += fmt::format("actions    {}\n", printable(record.actions));
    }
    return text;
}

}  // namespace

std::string explain_text(const RequestRecord& record) {
    std::string text = fmt::format("request    {}\n", printable(record.request_id));
    text += fmt::format("line       {} {} {}\n",
                        printable(record.method),
                        printable(record.authority),
                        printable(record.path));
    text += fmt::format("seen       {}, {} after the start of {}\n",
                        record.direction == Direction::inbound ? "inbound" : "outbound",
                        ms_text(record.duration),
                        format_wall_time(record.started_wall));
    text += fmt::format("from       {}/{}", record.source_namespace, record.source_workload);
    if (!record.source_principal.empty()) {
        text += fmt::format(", called by {}", printable(record.source_principal));
    }
    text += "\n";
    text += fmt::format(
        "to         {}/{}\n", record.destination_namespace, record.destination_workload);
    text += fmt::format("generation {}\n", record.generation);
    text += decisions_text(record);
    for (std::size_t i = 0; i < record.tries_listed(); ++i) {
        // Beyond the list the last entry is that of the last try.
        const bool last = i + 1 == record.tries_listed();
        if (last && record.tries > record.tries_listed()) {
            text += fmt::format("...        {} tries not listed\n",
                                record.tries - record.tries_listed());
        }
        text += try_text(record.try_list[i], last ? record.tries : i + 1);
    }
    text += fmt::format("result     {}{} flags {} details {}",
                        record.status,
                        record.grpc_status ? fmt::format(" grpc-status {}", *record.grpc_status)
                                           : std::string(),
                        record.flags.to_text().view(),
                        printable(record.details));
    if (!record.transport_failure.empty()) {
        text += fmt::format(" ({})", printable(record.transport_failure));
    }
    if (!record.termination_details.empty()) {
        text += fmt::format(" ({})", printable(record.termination_details));
    }
    return text + "\n";
}

ExplainRing::ExplainRing() : ExplainRing(Bounds{}) {}

ExplainRing::ExplainRing(const Bounds& bounds)
    : bounds_(bounds), bytes_(std::make_unique_for_overwrite<char[]>(bounds.bytes_max)),
      slots_(std::make_unique_for_overwrite<Slot[]>(std::max<std::size_t>(bounds.records_max, 1))) {
    bounds_.records_max = std::max<std::size_t>(bounds.records_max, 1);
}

void ExplainRing::drop_oldest() {
    first_ = (first_ + 1) % bounds_.records_max;
    --count_;
}

// Frees [write_at_, write_at_ + bytes). Records lie in the order of their age, so those in the way
// are always the oldest; one that starts at or after write_at_ is of the previous lap.
void ExplainRing::make_room(std::size_t bytes) {
    if (count_ == bounds_.records_max) {
        drop_oldest();
    }
    if (write_at_ + bytes > bounds_.bytes_max) {
        while (count_ > 0 && slot(0).offset >= write_at_) {
            drop_oldest();
        }
        write_at_ = 0;
    }
    while (count_ > 0 && slot(0).offset >= write_at_ && slot(0).offset < write_at_ + bytes) {
        drop_oldest();
    }
}

void ExplainRing::add(const RequestRecord& record) {
    if (record.request_id.empty()) {
        return;
    }
    Packer packer;
    walk(packer, record);
    const std::span<const char> packed = packer.bytes();
    if (!packer.fits() || packed.size() > bounds_.bytes_max) {
        return;  // only with bounds smaller than one record
    }
    make_room(packed.size());
    std::memcpy(bytes_.get() + write_at_, packed.data(), packed.size());
    slot(count_) = Slot{hash_id(record.request_id),
                        static_cast<std::uint32_t>(write_at_),
                        static_cast<std::uint32_t>(packed.size())};
    ++count_;
    write_at_ += packed.size();
}

std::optional<std::string> ExplainRing::find_text(std::string_view request_id) const {
    const std::uint64_t wanted = hash_id(request_id);
    for (std::size_t age = count_; age > 0; --age) {
        const Slot& one = slot(age - 1);
        if (one.id_hash != wanted) {
            continue;
        }
        RequestRecord record;
        Unpacker unpacker(std::string_view(bytes_.get() + one.offset, one.size));
        walk(unpacker, record);
        if (record.request_id == request_id) {
            return explain_text(record);
        }
    }
    return std::nullopt;
}

}  // namespace orlop::telemetry
