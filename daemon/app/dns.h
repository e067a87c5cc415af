// DnsResolver: the names of ServiceEntries with resolution DNS, kept looked up.
//
// The idea: requests never wait for a look-up. Every wanted name is asked for again when its TTL
// has passed (within limits::dns_ttl_s_min and _max); both families; a failure keeps the last good
// answer and is tried again with a growing pause. When the addresses of a name have changed,
// `changed` is called, and the next Snapshot has them as endpoints.
//
// Lifetime: after the Loop, before the Scope ends. Control thread only.
//
//     auto resolver = DnsResolver::open(loop, scope, {.servers = "10.0.0.10"}, [&] { wake(); });
//     resolver->want(result.dns_names);
//     compile(store, {.dns = &resolver->answers()});
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/control/compile/service_entries.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/scope.h"
#include "daemon/runtime/task.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace orlop::app {

struct DnsOptions {
    std::string servers;  // "address[:port],..."; empty: those of /etc/resolv.conf
};

// What one name is up to; shown by the admin API.
struct DnsName {
    std::vector<IpAddress> addresses;  // of the last good answer, sorted
    bool answered = false;
    bool asking = false;
    Instant due{};
    std::int64_t pause_ms = 0;  // after failures
    std::string failure;        // of the last look-up; empty: it was good
};

class DnsResolver {
public:
    static Result<std::unique_ptr<DnsResolver>> open(runtime::Loop& loop,
                                                     runtime::Scope& scope,
                                                     DnsOptions options,
                                                     std::function<void()> changed);
    ~DnsResolver();

    // These and no others; at most limits::dns_names_max.
    void want(const std::set<std::string>& names);
    void stop();  // the scope's coroutine ends in the loop's next turns
    const control::DnsAnswers& answers() const { return answers_; }
    const std::map<std::string, DnsName>& names() const { return names_; }

private:
    struct Channel;  // c-ares and the descriptors it waits for
    struct Question;
    DnsResolver(runtime::Loop& loop, std::function<void()> changed);

    static runtime::Task<void> serve(DnsResolver* self);
    void ask_due();
    void ask(const std::string& name, DnsName& entry);
    void answer(const std::string& name, std::vector<IpAddress> addresses, int ttl_s);
    void fail_name(const std::string& name, std::string_view why);
    void arm();

    runtime::Loop& loop_;
    std::function<void()> changed_;
    std::unique_ptr<Channel> channel_;
    std::map<std::string, DnsName> names_;
    control::DnsAnswers answers_;
    std::size_t asking_ = 0;
    bool stopping_ = false;
    bool too_many_told_ = false;
};

}  // namespace orlop::app
