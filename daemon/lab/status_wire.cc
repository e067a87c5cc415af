#include "daemon/lab/status_wire.h"

#include <cstdlib>

namespace orlop::lab {

namespace {

// One list of fields serves both directions.
class Writer {
public:
    explicit Writer(Message& message) : message_(message) {}
    void field(const std::string& value) { message_.push_back(value); }
    void field(const int& value) { message_.push_back(std::to_string(value)); }
    void field(const bool& value) { message_.push_back(value ? "1" : "0"); }

private:
    Message& message_;
};

class Reader {
public:
    Reader(const Message& message, std::size_t at) : message_(message), at_(at) {}
    void field(std::string& value) { value = next(); }
    void field(int& value) { value = number_of(next(), 0); }
    void field(bool& value) { value = next() == "1"; }
    std::size_t at() const { return at_; }
    bool overrun() const { return at_ > message_.size(); }

private:
    std::string next() {
        const std::size_t index = at_++;
        return index < message_.size() ? message_[index] : std::string();
    }
    const Message& message_;
    std::size_t at_;
};

template <class... Fields> void each(auto& target, Fields&... fields) {
    (target.field(fields), ...);
}

void visit(auto& t, auto& pod)
    requires requires { pod.restarts; }
{
    each(t,
         pod.ns,
         pod.name,
         pod.uid,
         pod.node,
         pod.phase,
         pod.ready,
         pod.ip,
         pod.ip6,
         pod.service_account,
         pod.labels,
         pod.restarts,
         pod.pid,
         pod.netns,
         pod.cgroup,
         pod.owner);
}

void visit(auto& t, auto& service)
    requires requires { service.cluster_ip; }
{
    each(t,
         service.ns,
         service.name,
         service.type,
         service.cluster_ip,
         service.cluster_ip6,
         service.ports,
         service.endpoints);
}

void visit(auto& t, auto& job)
    requires requires { job.exit_code; }
{
    each(t, job.ns, job.name, job.phase, job.exit_code);
}

void visit(auto& t, auto& node)
    requires requires { node.mesh_state; }
{
    each(t,
         node.name,
         node.netns,
         node.cgroup,
         node.ip,
         node.ip6,
         node.state_dir,
         node.socket,
         node.orlopd_pid,
         node.mesh_state);
}

template <class Record>
void write_all(Message& message, const char* word, const std::vector<Record>& records) {
    for (const Record& record : records) {
        message.emplace_back(word);
        Writer writer(message);
        visit(writer, record);
    }
}

template <class Record> void read_one(Reader& reader, std::vector<Record>& records) {
    Record record;
    visit(reader, record);
    records.push_back(std::move(record));
}

}  // namespace

void append_status(const Status& status, Message& message) {
    write_all(message, "node", status.nodes);
    write_all(message, "pod", status.pods);
    write_all(message, "service", status.services);
    write_all(message, "job", status.jobs);
}

Result<Status> read_status(const Message& message) {
    Status status;
    std::size_t at = 0;
    while (at < message.size()) {
        const std::string& word = message[at];
        Reader reader(message, at + 1);
        if (word == "node") {
            read_one(reader, status.nodes);
        } else if (word == "pod") {
            read_one(reader, status.pods);
        } else if (word == "service") {
            read_one(reader, status.services);
        } else if (word == "job") {
            read_one(reader, status.jobs);
        } else {
            return fail(ErrorKind::invalid_input, "unknown record in the lab's status: " + word);
        }
        if (reader.overrun()) {
            return fail(ErrorKind::invalid_input, "the lab's status ends early");
        }
        at = reader.at();
    }
    return status;
}

}  // namespace orlop::lab
