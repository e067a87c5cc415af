// The objects orlopd watches, as files: <state>/config/lab-<kind>-<ns>-<name>.yaml.
//
// render_*() are pure and write YAML that Kubernetes itself would answer, with every text quoted.
// write_atomically() writes beside the target and renames, so that a watcher never reads half.
#pragma once

#include "daemon/base/error.h"
#include "daemon/lab/manifest.h"

#include <string>
#include <string_view>
#include <vector>

namespace orlop::lab {

struct PodView {
    std::string uid;
    Meta meta;               // labels and annotations as they are now
    std::string owner_kind;  // ReplicaSet, Job, or empty
    std::string owner_name;
    std::string node;
    std::string phase;
    std::string created;  // RFC 3339
    std::string deleted;  // RFC 3339; empty while it is wanted
    std::vector<std::string> ips;
    std::string host_ip;
    enum class Ready : unsigned char { no, yes } ready = Ready::no;
};

std::string quote(std::string_view text);  // a YAML double-quoted scalar

std::string render_namespace(const Meta& meta, const std::string& created);
std::string render_service_account(const Meta& meta, const std::string& created);
std::string render_service(const ServiceObject& service,
                           const std::vector<std::string>& ips,
                           const std::string& created);
std::string render_node(const std::string& name, const std::vector<std::string>& ips);
std::string render_pod(const PodView& view, const PodTemplate& pod);
std::string
render_sandbox(const PodView& view, const std::string& netns, const std::string& cgroup);

// lab-<kind>-<ns>-<name>.yaml, lower case; ns is left out when empty.
std::string object_file_name(std::string_view kind, std::string_view ns, std::string_view name);

enum class Readers : unsigned char { everybody, owner };
Result<void> write_atomically(const std::string& path,
                              std::string_view text,
                              Readers readers = Readers::everybody);
Result<std::string> read_text_file(const std::string& path);  // bounded by yaml_file_bytes_max
void remove_file(const std::string& path);                    // absent is fine

}  // namespace orlop::lab
