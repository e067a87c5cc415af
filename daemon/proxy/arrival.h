// Arrival: a connection at the callee's end, as policy sees it: who calls, whom, where.
//
// reading_of() says whether its requests are read here. They are when a policy of the pod asks
// about them and the port may speak HTTP, or when MeshConfig wants HTTP metrics at this end; else
// the connection is bytes. JudgedStreams keeps the connections that were let in as bytes, so that a
// new snapshot can end those that it would not let in. One core.
#pragma once

#include "daemon/base/identity.h"
#include "daemon/base/ip.h"
#include "daemon/decide/authorize.h"
#include "daemon/model/snapshot.h"
#include "daemon/net/stream.h"

#include <optional>

namespace orlop::proxy {

struct Caller {
    std::optional<SpiffeId> identity;  // checked; none for plaintext
    IpAddress address;
    decide::ConnectionView view(const SocketAddress& destination) const {
        return {identity ? &*identity : nullptr, address, destination};
    }
};

enum class Reading : unsigned char {
    bytes,
    requests,  // the port is declared HTTP: what is not HTTP is refused
    look,      // undeclared: the first bytes tell
};
Reading reading_of(const model::Snapshot& snapshot,
                   const model::Workload& callee,
                   const SocketAddress& app);

// From the node itself to a port that the kubelet probes: no policy ever stands in its way.
bool is_probe(const model::Snapshot& snapshot,
              const model::Workload& callee,
              const IpAddress& caller,
              std::uint16_t port);

class JudgedStreams;

// Registers a stream while it lives. `looked`: its first bytes are known not to be HTTP.
enum class Looked : unsigned char { no, yes };

class JudgedStream {
public:
    JudgedStream(JudgedStreams& list,
                 net::Stream& stream,
                 Caller caller,
                 const SocketAddress& app,
                 Looked looked);
    JudgedStream(const JudgedStream&) = delete;
    JudgedStream& operator=(const JudgedStream&) = delete;
    ~JudgedStream();
    bool cut() const { return cut_; }

private:
    friend class JudgedStreams;
    JudgedStreams& list_;
    net::Stream& stream_;
    Caller caller_;
    SocketAddress app_;
    Looked looked_;
    bool cut_ = false;
    JudgedStream* next_ = nullptr;
    JudgedStream* previous_ = nullptr;
};

class JudgedStreams {
public:
    // Ends what `callee` as of `snapshot` would not let in, or would read.
    void judge_again(const model::Snapshot& snapshot, const model::Workload& callee);

private:
    friend class JudgedStream;
    JudgedStream* head_ = nullptr;
};

}  // namespace orlop::proxy
