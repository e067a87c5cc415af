#include "daemon/datapath/datapath.h"

#include "daemon/base/log.h"
#include "daemon/datapath/instance.h"
#include "daemon/datapath/journal.h"
#include "daemon/datapath/kernel_objects.h"
#include "daemon/datapath/pod_entry.h"
#include "daemon/datapath/pod_namespace.h"

#include <fmt/core.h>

#include <algorithm>
#include <fcntl.h>
#include <map>

namespace orlop::datapath {
namespace {

enum class Claim : std::uint8_t { unclaimed, claimed };
enum class Journaled : std::uint8_t { no, yes };

struct Pod {
    JournalPod record;
    Claim claim = Claim::unclaimed;
    Journaled journaled = Journaled::no;
    PodSpec spec;
    std::vector<IpAddress> addresses;
    std::shared_ptr<const PodNetwork> network;
};

struct ReasonName {
    std::string_view name;
    std::string_view text;
};
constexpr ReasonName reason_names[] = {
#define ORLOP_REASON_NAME(name, text) {#name, text},
    ORLOP_REASONS(ORLOP_REASON_NAME)
#undef ORLOP_REASON_NAME
};
static_assert(std::size(reason_names) == ORLOP_REASON_COUNT);

}  // namespace

struct Datapath::Impl {
    Options options;
    UniqueFd lock;
    std::unique_ptr<KernelObjects> kernel;
    Exclusions mesh;
    bool mesh_unwritten = false;                   // to some pod's entry
    std::map<std::string, Pod, std::less<>> pods;  // by uid; adopted ones without: "slot:<n>"
    bool states_unwritten = false;                 // a pod's state is newer than the journal
    bool journal_wrong = true;                     // more of it than a state, or it is not there

    Result<Pod*> find(std::string_view uid) {
        auto found = pods.find(uid);
        if (found == pods.end() || found->second.claim == Claim::unclaimed) {
            return fail(ErrorKind::not_found,
                        fmt::format("pod {} is not prepared for capture", uid));
        }
        return &found->second;
    }
    Pod* find_cookie(std::uint64_t cookie) {
        for (auto& [uid, pod] : pods) {
            if (pod.record.netns_cookie == cookie) {
                return &pod;
            }
        }
        return nullptr;
    }
    Result<void> save() {
        std::vector<JournalPod> records;
        for (auto& [uid, pod] : pods) {
            if (!pod.record.netns_path.empty()) {  // adopted without a journal: nothing to record
                records.push_back(pod.record);
                pod.journaled = Journaled::yes;
            }
        }
        auto written = write_journal(journal_path(options), records);
        states_unwritten = states_unwritten && !written;
        journal_wrong = !written;
        return written;
    }
    // Before anything is done for the pod. What the journal says of it already stands.
    Result<void> save_pod(Pod& pod) {
        if (journal_wrong) {
            return save();
        }
        if (pod.journaled == Journaled::yes) {
            return {};
        }
        if (!append_journal(journal_path(options), pod.record)) {
            return save();
        }
        pod.journaled = Journaled::yes;
        return {};
    }
    // Which pods there are is written before anything is done for them, so that a successor finds
    // and undoes it all; how far each has come is only told, and is written once for many.
    void set_state(Pod& pod, PodState state) {
        states_unwritten = states_unwritten || pod.record.state != state;
        pod.record.state = state;
    }
    Result<std::uint32_t> free_slot() const {
        std::vector<char> used(ORLOP_PODS_MAX + 1);
        for (const auto& [uid, pod] : pods) {
            used[pod.record.slot] = 1;
        }
        auto found = std::find(used.begin() + 1, used.end(), 0);
        if (found == used.end()) {
            return fail(ErrorKind::limit_exceeded,
                        fmt::format("ORLOP_PODS_MAX ({}) pods are captured", ORLOP_PODS_MAX));
        }
        return static_cast<std::uint32_t>(found - used.begin());
    }
    Result<void> write_entry(const Pod& pod) {
        auto entry = make_pod_entry(pod.record.netns_cookie, pod.addresses, pod.spec.policy, mesh);
        if (!entry) {
            Error error = entry.error();
            error.context = "pod " + pod.record.uid + ": " + error.context;
            return std::unexpected(std::move(error));
        }
        if (pod.record.state == PodState::draining) {
            entry->flags |= ORLOP_POD_LEAVING;
        }
        return kernel->write_pod(pod.record.slot, *entry);
    }
    void adopt();
    void remove_kernel_state(const JournalPod& record);
    Result<Pod*> place(const PodSpec& spec, std::uint64_t cookie);
};

// Takes over what a predecessor left: the journal's pods, and slots the journal does not know.
void Datapath::Impl::adopt() {
    auto records = read_journal(journal_path(options));
    if (!records) {
        log_line(LogLevel::warning,
                 "datapath",
                 "{}: going by the pinned maps alone",
                 records.error().context);
        std::string path = journal_path(options);
        ::rename(path.c_str(), (path + ".bad").c_str());
        records = std::vector<JournalPod>{};
    }
    for (JournalPod& record : *records) {
        Pod pod;
        pod.record = std::move(record);
        if (kernel->is_enrolled(pod.record.netns_cookie)) {
            pod.record.state = PodState::enrolled;  // the journal may not have been told yet
        }
        pod.journaled = Journaled::yes;
        std::string uid = pod.record.uid;
        pods.emplace(std::move(uid), std::move(pod));
    }
    for (std::uint32_t slot : kernel->list_pod_slots()) {
        auto known = [&](const auto& entry) { return entry.second.record.slot == slot; };
        auto entry = kernel->read_pod(slot);
        if (std::ranges::any_of(pods, known) || !entry || slot == 0 || slot > ORLOP_PODS_MAX) {
            continue;
        }
        Pod pod;
        pod.record.slot = slot;
        pod.record.netns_cookie = entry->netns_cookie;
        pod.record.state =
            kernel->is_enrolled(entry->netns_cookie) ? PodState::enrolled : PodState::draining;
        pod.record.mark_sysctls_before = 0;  // the kernel's default; the true value is lost
        pods.emplace(fmt::format("slot:{}", slot), std::move(pod));
    }
    for (std::uint64_t cookie : kernel->list_enrolled()) {
        if (find_cookie(cookie) == nullptr) {
            kernel->unenroll(cookie);
        }
    }
}

// Everything in the kernel maps and pins, not what lies inside the namespace. Capture of new
// connections ends first.
void Datapath::Impl::remove_kernel_state(const JournalPod& record) {
    kernel->unenroll(record.netns_cookie);
    kernel->detach_steer(record.slot);
    kernel->remove_listeners(record.slot);
    kernel->remove_pod(record.slot);
}

// The pod's place in our books: its own if the namespace is the same, one left by a predecessor
// for this namespace, or a new one.
Result<Pod*> Datapath::Impl::place(const PodSpec& spec, std::uint64_t cookie) {
    auto own = pods.find(spec.uid);
    if (own != pods.end() && own->second.record.netns_cookie != cookie) {
        remove_kernel_state(
            own->second.record);  // the pod got a new namespace; the old one is gone
        pods.erase(own);
        own = pods.end();
        journal_wrong = true;
    }
    if (own != pods.end()) {
        return &own->second;
    }
    Pod fresh;
    if (Pod* other = find_cookie(cookie)) {
        if (other->claim == Claim::claimed) {
            return fail(ErrorKind::denied,
                        fmt::format("pod {}: its network namespace already belongs to pod {}",
                                    spec.uid,
                                    other->record.uid));
        }
        fresh.record = other->record;
        journal_wrong = true;
        std::erase_if(pods, [&](const auto& entry) { return &entry.second == other; });
    } else {
        auto slot = free_slot();
        if (!slot) {
            return std::unexpected(slot.error());
        }
        fresh.record.slot = *slot;
        fresh.record.netns_cookie = cookie;
    }
    fresh.record.uid = spec.uid;
    return &pods.emplace(spec.uid, std::move(fresh)).first->second;
}

Datapath::Datapath(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Datapath::~Datapath() {
    if (auto written = write_states(); !written) {
        log_line(LogLevel::warning, "datapath", "{}", written.error().context);
    }
}

Result<std::unique_ptr<Datapath>> Datapath::open(Options options) {
    auto complete = complete_options(std::move(options));
    if (!complete) {
        return std::unexpected(complete.error());
    }
    auto impl = std::make_unique<Impl>();
    impl->options = std::move(*complete);
    auto lock = lock_instance(impl->options);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    impl->lock = std::move(*lock);
    if (auto mounted = ensure_bpffs(impl->options.bpffs_dir); !mounted) {
        return std::unexpected(mounted.error());
    }
    auto cgroup = find_cgroup(impl->options.cgroup_path);
    if (!cgroup) {
        return std::unexpected(cgroup.error());
    }
    auto kernel = KernelObjects::open(impl->options.bpffs_dir, *cgroup);
    if (!kernel) {
        return std::unexpected(kernel.error());
    }
    impl->kernel = std::move(*kernel);
    impl->adopt();
    return std::unique_ptr<Datapath>(new Datapath(std::move(impl)));
}

Result<void> Datapath::set_mesh_exclusions(const Exclusions& exclusions) {
    if (impl_->mesh == exclusions && !impl_->mesh_unwritten) {
        return {};
    }
    Exclusions before = std::exchange(impl_->mesh, exclusions);
    for (const auto& [uid, pod] : impl_->pods) {
        if (pod.claim == Claim::unclaimed) {
            continue;
        }
        auto entry = make_pod_entry(0, pod.addresses, pod.spec.policy, impl_->mesh);
        if (!entry) {  // checked for all before written for any
            impl_->mesh = std::move(before);
            return fail(entry.error().kind, "pod " + uid + ": " + entry.error().context);
        }
    }
    impl_->mesh_unwritten = true;
    for (const auto& [uid, pod] : impl_->pods) {
        if (pod.claim == Claim::claimed) {
            if (auto done = impl_->write_entry(pod); !done) {
                return done;
            }
        }
    }
    impl_->mesh_unwritten = false;
    return {};
}

bool Datapath::exclusions_unwritten() const {
    return impl_->mesh_unwritten;
}

Result<PreparedPod> Datapath::prepare(const PodSpec& spec) {
    // 1. Everything that can be refused, before anything is written.
    for (const auto& checked : {check_pod_uid(spec.uid), check_netns_path(spec.netns_path)}) {
        if (!checked) {
            return std::unexpected(checked.error());
        }
    }
    auto netns = open_pod_netns(spec.netns_path);
    if (!netns) {
        return std::unexpected(netns.error());
    }
    auto cookie = netns_cookie_of(netns->get());
    auto seen = look_around(netns->get(), spec.addresses);
    if (!cookie || !seen) {
        return fail(cookie ? seen.error().kind : cookie.error().kind,
                    "pod " + spec.uid + ": " +
                        (cookie ? seen.error().context : cookie.error().context));
    }
    auto entry = make_pod_entry(*cookie, seen->addresses, spec.policy, impl_->mesh);
    auto exemptions = impl_->kernel->exemptions();
    if (!entry || !exemptions) {
        return fail(entry ? exemptions.error().kind : entry.error().kind,
                    "pod " + spec.uid + ": " +
                        (entry ? exemptions.error().context : entry.error().context));
    }
    // 2. The journal, so that a successor finds what step 3 may leave half done.
    auto placed = impl_->place(spec, *cookie);
    if (!placed) {
        return std::unexpected(placed.error());
    }
    Pod& pod = **placed;
    pod.spec = spec;
    pod.addresses = seen->addresses;
    pod.claim = Claim::claimed;
    if (std::exchange(pod.record.netns_path, spec.netns_path) != spec.netns_path) {
        impl_->journal_wrong = impl_->journal_wrong || pod.journaled == Journaled::yes;
    }
    if (spec.source == SourceAddress::caller && !pod.record.mark_sysctls_before) {
        pod.record.mark_sysctls_before = seen->mark_sysctls;
        impl_->journal_wrong = impl_->journal_wrong || pod.journaled == Journaled::yes;
    }
    pod.network = std::make_shared<PodNetwork>(std::move(*netns), std::move(*exemptions));
    if (auto saved = impl_->save_pod(pod); !saved) {
        return std::unexpected(saved.error());
    }
    // 3. The namespace and the map entry; nothing uses them yet.
    auto routed = add_routing(pod.network->netns_fd(), pod.addresses, spec.source);
    auto written = routed ? impl_->write_entry(pod) : routed;
    if (!written) {
        return fail(written.error().kind, "pod " + spec.uid + ": " + written.error().context);
    }
    return PreparedPod{.slot = pod.record.slot,
                       .netns_cookie = *cookie,
                       .addresses = pod.addresses,
                       .network = pod.network};
}

Result<Listeners> Datapath::open_listeners(std::string_view uid) {
    auto pod = impl_->find(uid);
    if (!pod) {
        return std::unexpected(pod.error());
    }
    auto made = make_listeners((*pod)->network->netns_fd());
    if (!made) {
        return fail(made.error().kind, fmt::format("pod {}: {}", uid, made.error().context));
    }
    std::uint32_t slot = (*pod)->record.slot;
    for (auto [kind, listener] : {std::pair{ORLOP_LISTENER_OUTBOUND, &made->outbound},
                                  std::pair{ORLOP_LISTENER_INBOUND, &made->inbound},
                                  std::pair{ORLOP_LISTENER_LOCAL, &made->local}}) {
        if (auto done = impl_->kernel->enter_listener(slot, kind, listener->get()); !done) {
            return std::unexpected(done.error());
        }
    }
    if ((*pod)->record.state == PodState::prepared) {
        impl_->set_state(**pod, PodState::listening);
    }
    return made;
}

Result<void> Datapath::activate(std::string_view uid) {
    auto found = impl_->find(uid);
    if (!found) {
        return std::unexpected(found.error());
    }
    Pod& pod = **found;
    std::uint32_t slot = pod.record.slot;
    if (!impl_->kernel->has_listener(slot, ORLOP_LISTENER_OUTBOUND) ||
        !impl_->kernel->has_listener(slot, ORLOP_LISTENER_INBOUND)) {
        return fail(
            ErrorKind::internal,
            fmt::format("pod {} has no listeners; open_listeners comes before activate", uid));
    }
    impl_->set_state(pod, PodState::enrolled);
    impl_->kernel->beat();
    if (auto done = impl_->write_entry(pod); !done) {
        return done;
    }
    if (auto done = impl_->kernel->attach_steer(slot, pod.network->netns_fd()); !done) {
        return done;
    }
    return impl_->kernel->enroll(pod.record.netns_cookie, slot);
}

Result<void> Datapath::update(std::string_view uid, const PodPolicy& policy) {
    auto pod = impl_->find(uid);
    if (!pod) {
        return std::unexpected(pod.error());
    }
    PodPolicy before = std::exchange((*pod)->spec.policy, policy);
    auto written = impl_->write_entry(**pod);
    if (!written) {
        (*pod)->spec.policy = std::move(before);
    }
    return written;
}

Result<void> Datapath::begin_leave(std::string_view uid) {
    auto pod = impl_->find(uid);
    if (!pod) {
        return std::unexpected(pod.error());
    }
    impl_->kernel->unenroll((*pod)->record.netns_cookie);
    impl_->set_state(**pod, PodState::draining);
    return impl_->write_entry(**pod);
}

Result<void> Datapath::finish_leave(std::string_view uid) {
    auto found = impl_->find(uid);
    if (!found) {
        return std::unexpected(found.error());
    }
    Pod& pod = **found;
    impl_->remove_kernel_state(pod.record);
    auto cleaned = remove_routing(pod.network->netns_fd(), pod.record.mark_sysctls_before);
    if (!cleaned) {  // stays in the journal, to be tried again
        return fail(cleaned.error().kind, fmt::format("pod {}: {}", uid, cleaned.error().context));
    }
    impl_->pods.erase(impl_->pods.find(uid));
    return impl_->save();
}

Result<void> Datapath::forget(std::string_view uid) {
    auto found = impl_->pods.find(uid);
    if (found == impl_->pods.end()) {
        return {};
    }
    impl_->remove_kernel_state(found->second.record);
    impl_->pods.erase(found);
    // A successor that still reads of the pod finds nothing of it and forgets it as well.
    impl_->journal_wrong = true;
    return {};
}

Result<void> Datapath::write_states() {
    return impl_->states_unwritten || impl_->journal_wrong ? impl_->save() : Result<void>();
}

void Datapath::beat() {
    impl_->kernel->beat();
}

std::vector<AdoptedPod> Datapath::adopted_pods() const {
    std::vector<AdoptedPod> adopted;
    for (const auto& [uid, pod] : impl_->pods) {
        if (pod.claim == Claim::unclaimed) {
            adopted.push_back({.uid = pod.record.uid,
                               .slot = pod.record.slot,
                               .netns_cookie = pod.record.netns_cookie,
                               .state = pod.record.state});
        }
    }
    return adopted;
}

Result<void> Datapath::remove_unclaimed() {
    for (auto at = impl_->pods.begin(); at != impl_->pods.end();) {
        const Pod& pod = at->second;
        if (pod.claim == Claim::claimed) {
            ++at;
            continue;
        }
        impl_->remove_kernel_state(pod.record);
        // A namespace that is gone took its rules along.
        if (auto netns = find_netns(pod.record.netns_path, pod.record.netns_cookie)) {
            auto cleaned = remove_routing(netns->get(), pod.record.mark_sysctls_before);
            if (!cleaned) {
                return cleaned;
            }
        }
        at = impl_->pods.erase(at);
        impl_->journal_wrong = true;  // also when the next one fails
    }
    // Links of slots that nobody knows: a predecessor died between two steps.
    for (std::uint32_t slot : impl_->kernel->list_steer_slots()) {
        auto known = [&](const auto& entry) { return entry.second.record.slot == slot; };
        if (!std::ranges::any_of(impl_->pods, known)) {
            impl_->kernel->detach_steer(slot);
        }
    }
    return impl_->save();
}

std::vector<Counter> Datapath::counters() const {
    std::vector<std::uint64_t> totals = impl_->kernel->read_stats();
    std::vector<Counter> named;
    for (std::size_t i = 0; i < std::size(reason_names); ++i) {
        named.push_back({reason_names[i].name, reason_names[i].text, totals[i]});
    }
    return named;
}

Result<void> Datapath::close(Pins pins) {
    if (pins == Pins::keep) {
        return {};
    }
    Options options = impl_->options;
    impl_->kernel.reset();
    impl_->pods.clear();
    impl_->states_unwritten = impl_->journal_wrong = false;  // there is to be no journal
    impl_->lock.reset();
    auto removed = uninstall(options);
    return removed ? Result<void>{} : std::unexpected(removed.error());
}

std::vector<std::string> Datapath::list_owned() const {
    return list_owned(impl_->options);
}

}  // namespace orlop::datapath
