// Manifest: what Kubernetes YAML asks of the lab, as plain values.
//
// parse_manifest() is the only door: it takes a file of any number of documents, keeps what the lab
// runs (Namespace, Deployment, Service, ServiceAccount, Job, Pod; also inside a v1 List) and hands
// every other object on as text for orlopd. Fields that mean nothing to processes (resources,
// volumes, imagePullPolicy) are ignored; wrong types and duplicate keys are errors that name file,
// document and field. parse_lab_file() reads the mapping of images to commands.
//
// Values only; pure functions; any thread.
#pragma once

#include "daemon/base/error.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::lab {

using Labels = std::map<std::string, std::string>;

struct EnvVar {
    std::string name;
    std::string value;
    std::string field_path;  // valueFrom.fieldRef.fieldPath; empty: `value` counts
};

struct ContainerPort {
    std::string name;
    std::uint16_t port = 0;
    std::string protocol = "TCP";
};

struct Container {
    std::string name;
    std::string image;
    std::vector<std::string> command;
    std::vector<std::string> args;
    std::vector<EnvVar> env;
    std::vector<ContainerPort> ports;
    std::string probes_yaml;  // "livenessProbe: {...}\n" lines in flow style, as given
};

struct PodTemplate {
    Labels labels;
    Labels annotations;
    std::string service_account = "default";
    std::string restart_policy = "Always";
    std::string node_name;  // spec.nodeName or nodeSelector kubernetes.io/hostname; empty: any
    std::vector<Container> containers;
};

struct Meta {
    std::string ns;
    std::string name;
    Labels labels;
    Labels annotations;
};

struct NamespaceObject {
    Meta meta;  // meta.ns is empty
};

struct ServiceAccountObject {
    Meta meta;
};

struct DeploymentObject {
    Meta meta;
    int replicas = 1;
    Labels selector;
    PodTemplate pod;
};

struct JobObject {
    Meta meta;
    int backoff_limit = 6;
    int completions = 1;
    PodTemplate pod;
};

struct PodObject {
    Meta meta;  // labels and annotations are also in `pod`
    PodTemplate pod;
};

struct ServicePort {
    std::string name;
    std::string protocol = "TCP";
    std::uint16_t port = 0;
    std::string target_port;  // number or name of a container port
    std::string app_protocol;
};

struct ServiceObject {
    Meta meta;
    std::string type = "ClusterIP";
    std::string cluster_ip;  // as asked: empty, "None" or an address
    Labels selector;
    std::vector<ServicePort> ports;
};

struct OtherObject {  // not the lab's: handed to orlopd
    std::string kind;
    Meta meta;
    std::string text;  // the document, byte for byte when it names its namespace itself
};

struct Manifest {
    std::vector<NamespaceObject> namespaces;
    std::vector<ServiceAccountObject> service_accounts;
    std::vector<ServiceObject> services;
    std::vector<DeploymentObject> deployments;
    std::vector<JobObject> jobs;
    std::vector<PodObject> pods;
    std::vector<OtherObject> others;
};

// `ns` is given to namespaced objects that name none.
Result<Manifest>
parse_manifest(std::string_view text, const std::string& path, const std::string& ns);

struct ImageCommand {
    std::vector<std::string> argv;  // empty: the manifest's own command is run on the host
    Labels env;                     // defaults under the manifest's env
};

// Image patterns to commands, in the order of the file; the first match counts. `*` matches any run
// of characters; a pattern without a tag matches every tag and digest.
class LabFile {
public:
    void add(std::string pattern, ImageCommand command);
    const ImageCommand* find(std::string_view image) const;

private:
    std::vector<std::pair<std::string, ImageCommand>> images_;
};

Result<LabFile> parse_lab_file(std::string_view text, const std::string& path);

}  // namespace orlop::lab
