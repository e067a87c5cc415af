#include "daemon/lab/manifest.h"

#include "daemon/base/limits.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <set>

namespace orlop::lab {

namespace {

// Thrown only inside this file; the two doors turn it into an Error.
struct BadField {
    std::string what;
};

using Path = std::string;

std::string where(const YAML::Node& node) {
    const YAML::Mark mark = node.Mark();
    return mark.is_null() ? std::string() : fmt::format(" (line {})", mark.line + 1);
}

// yaml-cpp keeps both of two equal keys; the first would win in silence.
void refuse_duplicates(const YAML::Node& node, const Path& path, std::size_t depth) {
    if (depth > limits::yaml_depth_max) {
        throw BadField{path + ": nested deeper than yaml_depth_max"};
    }
    if (node.IsSequence()) {
        for (std::size_t i = 0; i < node.size(); ++i) {
            refuse_duplicates(node[i], fmt::format("{}[{}]", path, i), depth + 1);
        }
    }
    if (!node.IsMap()) {
        return;
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
        if (!entry.first.IsScalar()) {
            throw BadField{path + ": a key is not a plain word" + where(entry.first)};
        }
        const std::string key = entry.first.Scalar();
        if (!seen.insert(key).second) {
            throw BadField{fmt::format("{}.{}: key given twice{}", path, key, where(entry.first))};
        }
        refuse_duplicates(entry.second, path + "." + key, depth + 1);
    }
}

YAML::Node map_at(const YAML::Node& parent, const char* key, const Path& path) {
    const YAML::Node node = parent[key];
    if (!node.IsDefined() || node.IsNull()) {
        return YAML::Node(YAML::NodeType::Map);
    }
    if (!node.IsMap()) {
        throw BadField{fmt::format("{}.{}: must be a mapping{}", path, key, where(node))};
    }
    return node;
}

YAML::Node list_at(const YAML::Node& parent, const char* key, const Path& path) {
    const YAML::Node node = parent[key];
    if (!node.IsDefined() || node.IsNull()) {
        return YAML::Node(YAML::NodeType::Sequence);
    }
    if (!node.IsSequence()) {
        throw BadField{fmt::format("{}.{}: must be a list{}", path, key, where(node))};
    }
    return node;
}

std::string text_at(const YAML::Node& parent, const char* key, const Path& path) {
    const YAML::Node node = parent[key];
    if (!node.IsDefined() || node.IsNull()) {
        return {};
    }
    if (!node.IsScalar()) {
        throw BadField{fmt::format("{}.{}: must be text{}", path, key, where(node))};
    }
    return node.Scalar();
}

long number_at(
    const YAML::Node& parent, const char* key, const Path& path, long fallback, long maximum) {
    const std::string text = text_at(parent, key, path);
    if (text.empty()) {
        return fallback;
    }
    long value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < 0 || value > maximum) {
        throw BadField{fmt::format("{}.{}: \"{}\" must be a number of 0 to {}{}",
                                   path,
                                   key,
                                   text,
                                   maximum,
                                   where(parent[key]))};
    }
    return value;
}

// A name that becomes part of file names and DNS names: RFC 1123, at most 253 bytes.
void check_name(const std::string& name, const Path& path) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    };
    bool good = !name.empty() && name.size() <= 253 && name.front() != '.' && name.front() != '-';
    for (const char c : name) {
        good = good && allowed(c);
    }
    if (!good) {
        throw BadField{
            fmt::format("{}: \"{}\" must be lower-case letters, digits, '-' and '.'", path, name)};
    }
}

Labels labels_at(const YAML::Node& parent, const char* key, const Path& path) {
    Labels labels;
    for (const auto& entry : map_at(parent, key, path)) {
        if (!entry.second.IsScalar()) {
            throw BadField{fmt::format(
                "{}.{}.{}: must be text{}", path, key, entry.first.Scalar(), where(entry.second))};
        }
        labels[entry.first.Scalar()] = entry.second.Scalar();
    }
    return labels;
}

std::vector<std::string> texts_at(const YAML::Node& parent, const char* key, const Path& path) {
    std::vector<std::string> texts;
    for (const YAML::Node& item : list_at(parent, key, path)) {
        if (!item.IsScalar()) {
            throw BadField{fmt::format("{}.{}: items must be text{}", path, key, where(item))};
        }
        texts.push_back(item.Scalar());
    }
    return texts;
}

Meta read_meta(const YAML::Node& document, const std::string& ns) {
    const YAML::Node node = map_at(document, "metadata", "");
    Meta meta;
    meta.name = text_at(node, "name", "metadata");
    meta.ns = text_at(node, "namespace", "metadata");
    check_name(meta.name, "metadata.name");
    if (meta.ns.empty()) {
        meta.ns = ns;
    }
    check_name(meta.ns, "metadata.namespace");
    meta.labels = labels_at(node, "labels", "metadata");
    meta.annotations = labels_at(node, "annotations", "metadata");
    return meta;
}

std::vector<EnvVar> read_env(const YAML::Node& container, const Path& path) {
    std::vector<EnvVar> env;
    for (const YAML::Node& item : list_at(container, "env", path)) {
        EnvVar variable;
        variable.name = text_at(item, "name", path + ".env");
        variable.value = text_at(item, "value", path + ".env");
        const YAML::Node from = map_at(item, "valueFrom", path + ".env");
        variable.field_path =
            text_at(map_at(from, "fieldRef", path + ".env.valueFrom"), "fieldPath", path + ".env");
        if (variable.name.empty() || variable.name.find('=') != std::string::npos) {
            throw BadField{fmt::format(
                "{}.env: \"{}\" cannot name a variable{}", path, variable.name, where(item))};
        }
        if (from.size() > 0 && variable.field_path.empty()) {
            throw BadField{fmt::format("{}.env.{}.valueFrom: the lab knows fieldRef only{}",
                                       path,
                                       variable.name,
                                       where(item))};
        }
        env.push_back(std::move(variable));
    }
    return env;
}

std::string protocol_at(const YAML::Node& node, const Path& path) {
    std::string protocol = text_at(node, "protocol", path);
    if (protocol.empty()) {
        protocol = "TCP";
    }
    if (protocol != "TCP" && protocol != "UDP") {
        throw BadField{path + ".protocol: the lab knows TCP and UDP" + where(node)};
    }
    return protocol;
}

Container read_container(const YAML::Node& node, const Path& path) {
    Container container;
    container.name = text_at(node, "name", path);
    container.image = text_at(node, "image", path);
    check_name(container.name, path + ".name");
    container.command = texts_at(node, "command", path);
    container.args = texts_at(node, "args", path);
    container.env = read_env(node, path);
    for (const YAML::Node& item : list_at(node, "ports", path)) {
        ContainerPort port;
        port.name = text_at(item, "name", path + ".ports");
        port.port =
            static_cast<std::uint16_t>(number_at(item, "containerPort", path + ".ports", 0, 65535));
        port.protocol = protocol_at(item, path + ".ports");
        container.ports.push_back(std::move(port));
    }
    for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
        const YAML::Node given = map_at(node, probe, path);
        if (given.size() > 0) {
            YAML::Emitter out;
            out.SetMapFormat(YAML::Flow);
            out.SetSeqFormat(YAML::Flow);
            out << given;
            std::string flow = out.c_str();
            for (char& c : flow) {
                c = c == '\n' ? ' ' : c;
            }
            container.probes_yaml += fmt::format("{}: {}\n", probe, flow);
        }
    }
    return container;
}

PodTemplate read_pod(const YAML::Node& spec, const Path& path) {
    PodTemplate pod;
    pod.service_account = text_at(spec, "serviceAccountName", path);
    if (pod.service_account.empty()) {
        pod.service_account = text_at(spec, "serviceAccount", path);
    }
    if (pod.service_account.empty()) {
        pod.service_account = "default";
    }
    check_name(pod.service_account, path + ".serviceAccountName");
    const std::string restart = text_at(spec, "restartPolicy", path);
    if (!restart.empty()) {
        pod.restart_policy = restart;
    }
    pod.node_name = text_at(spec, "nodeName", path);
    if (pod.node_name.empty()) {
        pod.node_name = text_at(
            map_at(spec, "nodeSelector", path), "kubernetes.io/hostname", path + ".nodeSelector");
    }
    const YAML::Node containers = list_at(spec, "containers", path);
    for (std::size_t i = 0; i < containers.size(); ++i) {
        pod.containers.push_back(
            read_container(containers[i], fmt::format("{}.containers[{}]", path, i)));
    }
    if (pod.containers.empty()) {
        throw BadField{path + ".containers: at least one is needed"};
    }
    return pod;
}

PodTemplate read_template(const YAML::Node& spec) {
    const YAML::Node node = map_at(spec, "template", "spec");
    PodTemplate pod = read_pod(map_at(node, "spec", "spec.template"), "spec.template.spec");
    const YAML::Node meta = map_at(node, "metadata", "spec.template");
    pod.labels = labels_at(meta, "labels", "spec.template.metadata");
    pod.annotations = labels_at(meta, "annotations", "spec.template.metadata");
    return pod;
}

DeploymentObject read_deployment(const YAML::Node& document, Meta meta) {
    const YAML::Node spec = map_at(document, "spec", "");
    DeploymentObject deployment;
    deployment.meta = std::move(meta);
    deployment.replicas = static_cast<int>(number_at(spec, "replicas", "spec", 1, 200));
    deployment.selector =
        labels_at(map_at(spec, "selector", "spec"), "matchLabels", "spec.selector");
    deployment.pod = read_template(spec);
    for (const auto& [key, value] : deployment.selector) {
        const auto found = deployment.pod.labels.find(key);
        if (found == deployment.pod.labels.end() || found->second != value) {
            throw BadField{fmt::format("spec.selector.matchLabels.{}: the template's labels do not "
                                       "have {}={}",
                                       key,
                                       key,
                                       value)};
        }
    }
    return deployment;
}

JobObject read_job(const YAML::Node& document, Meta meta) {
    const YAML::Node spec = map_at(document, "spec", "");
    JobObject job;
    job.meta = std::move(meta);
    job.backoff_limit = static_cast<int>(number_at(spec, "backoffLimit", "spec", 6, 100));
    job.completions = static_cast<int>(number_at(spec, "completions", "spec", 1, 100));
    job.pod = read_template(spec);
    if (job.pod.restart_policy == "Always") {
        job.pod.restart_policy = "Never";
    }
    return job;
}

ServiceObject read_service(const YAML::Node& document, Meta meta) {
    const YAML::Node spec = map_at(document, "spec", "");
    ServiceObject service;
    service.meta = std::move(meta);
    const std::string type = text_at(spec, "type", "spec");
    service.type = type.empty() ? "ClusterIP" : type;
    service.cluster_ip = text_at(spec, "clusterIP", "spec");
    service.selector = labels_at(spec, "selector", "spec");
    for (const YAML::Node& item : list_at(spec, "ports", "spec")) {
        ServicePort port;
        port.name = text_at(item, "name", "spec.ports");
        port.protocol = protocol_at(item, "spec.ports");
        port.port = static_cast<std::uint16_t>(number_at(item, "port", "spec.ports", 0, 65535));
        port.target_port = text_at(item, "targetPort", "spec.ports");
        port.app_protocol = text_at(item, "appProtocol", "spec.ports");
        if (port.port == 0) {
            throw BadField{"spec.ports.port: a number of 1 to 65535 is needed" + where(item)};
        }
        if (port.target_port.empty()) {
            port.target_port = std::to_string(port.port);
        }
        service.ports.push_back(std::move(port));
    }
    return service;
}

PodObject read_pod_object(const YAML::Node& document, Meta meta) {
    PodObject pod;
    pod.pod = read_pod(map_at(document, "spec", ""), "spec");
    pod.pod.labels = meta.labels;
    pod.pod.annotations = meta.annotations;
    pod.meta = std::move(meta);
    return pod;
}

// yaml-cpp's own emitter forgets quotes, which turns the text "true" into a boolean.
void emit(YAML::Emitter& out, const YAML::Node& node) {
    if (node.IsMap()) {
        out << YAML::BeginMap;
        for (const auto& each : node) {
            out << YAML::Key;
            emit(out, each.first);
            out << YAML::Value;
            emit(out, each.second);
        }
        out << YAML::EndMap;
    } else if (node.IsSequence()) {
        out << YAML::BeginSeq;
        for (const YAML::Node& item : node) {
            emit(out, item);
        }
        out << YAML::EndSeq;
    } else if (node.IsScalar() && node.Tag() == "!") {  // quoted, or a block of text
        out << YAML::DoubleQuoted << node.Scalar();
    } else {
        out << node;
    }
}

std::string other_text(const YAML::Node& document, const Meta& meta, std::string_view source) {
    if (document["metadata"]["namespace"].IsDefined() && !source.empty()) {
        return std::string(source);
    }
    YAML::Node copy = YAML::Clone(document);
    copy["metadata"]["namespace"] = meta.ns;
    YAML::Emitter out;
    emit(out, copy);
    return std::string(out.c_str()) + "\n";
}

void add_document(Manifest& manifest,
                  const YAML::Node& document,
                  const std::string& ns,
                  std::string_view source) {
    const std::string kind = text_at(document, "kind", "");
    if (kind.empty() || text_at(document, "apiVersion", "").empty()) {
        throw BadField{"apiVersion and kind are needed" + where(document)};
    }
    if (kind == "List") {
        for (const YAML::Node& item : list_at(document, "items", "")) {
            add_document(manifest, item, ns, {});
        }
        return;
    }
    Meta meta = read_meta(document, ns);
    if (kind == "Namespace") {
        meta.ns.clear();
        manifest.namespaces.push_back({std::move(meta)});
    } else if (kind == "ServiceAccount") {
        manifest.service_accounts.push_back({std::move(meta)});
    } else if (kind == "Service" && text_at(document, "apiVersion", "") == "v1") {
        manifest.services.push_back(read_service(document, std::move(meta)));
    } else if (kind == "Deployment") {
        manifest.deployments.push_back(read_deployment(document, std::move(meta)));
    } else if (kind == "Job") {
        manifest.jobs.push_back(read_job(document, std::move(meta)));
    } else if (kind == "Pod") {
        manifest.pods.push_back(read_pod_object(document, std::move(meta)));
    } else {
        std::string text = other_text(document, meta, source);
        manifest.others.push_back({kind, std::move(meta), std::move(text)});
    }
}

// The documents of a file as slices of its text, so that foreign objects keep their lines.
std::vector<std::string_view> split_documents(std::string_view text) {
    std::vector<std::string_view> documents;
    std::size_t start = 0;
    std::size_t line = 0;
    while (line < text.size()) {
        std::size_t end = text.find('\n', line);
        end = end == std::string_view::npos ? text.size() : end;
        const std::string_view content = text.substr(line, end - line);
        const bool separator = content.starts_with("---") &&
                               content.find_first_not_of(" \t\r", 3) == std::string_view::npos;
        if (separator) {
            documents.push_back(text.substr(start, line - start));
            start = end + 1 < text.size() ? end + 1 : text.size();
        }
        line = end + 1;
    }
    documents.push_back(text.substr(std::min(start, text.size())));
    return documents;
}

ImageCommand read_image(const YAML::Node& node, const Path& path) {
    ImageCommand command;
    if (node.IsScalar()) {
        command.argv.push_back(node.Scalar());
        return command;
    }
    if (node.IsSequence()) {
        for (const YAML::Node& item : node) {
            command.argv.push_back(item.as<std::string>());
        }
        return command;
    }
    if (node.IsMap()) {
        command.argv = texts_at(node, "command", path);
        command.env = labels_at(node, "env", path);
        return command;
    }
    throw BadField{path + ": must be a command, a list of words, or a mapping" + where(node)};
}

// Iterative glob: `*` only. Linear in practice, at worst pattern times text, both bounded.
bool matches(std::string_view pattern, std::string_view text) {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') {
        ++p;
    }
    return p == pattern.size();
}

std::string_view without_tag(std::string_view image) {
    image = image.substr(0, image.find('@'));
    const std::size_t colon = image.rfind(':');
    const std::size_t slash = image.rfind('/');
    const bool is_tag =
        colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
    return is_tag ? image.substr(0, colon) : image;
}

}  // namespace

Result<Manifest>
parse_manifest(std::string_view text, const std::string& path, const std::string& ns) {
    if (text.size() > limits::yaml_file_bytes_max) {
        return fail(ErrorKind::limit_exceeded, path + ": larger than yaml_file_bytes_max");
    }
    Manifest manifest;
    std::size_t number = 0;
    for (const std::string_view source : split_documents(text)) {
        ++number;
        try {
            const YAML::Node document = YAML::Load(std::string(source));
            if (document.IsNull()) {
                continue;
            }
            if (!document.IsMap()) {
                throw BadField{"must be a Kubernetes object"};
            }
            refuse_duplicates(document, "", 0);
            add_document(manifest, document, ns, source);
        } catch (const BadField& bad) {
            return fail(ErrorKind::invalid_input,
                        fmt::format("{}: document {}: {}", path, number, bad.what));
        } catch (const YAML::Exception& bad) {
            return fail(ErrorKind::invalid_input,
                        fmt::format("{}: document {}: {}", path, number, bad.what()));
        }
    }
    return manifest;
}

void LabFile::add(std::string pattern, ImageCommand command) {
    images_.emplace_back(std::move(pattern), std::move(command));
}

const ImageCommand* LabFile::find(std::string_view image) const {
    for (const auto& [pattern, command] : images_) {
        if (matches(pattern, image) || matches(pattern, without_tag(image))) {
            return &command;
        }
    }
    return nullptr;
}

Result<LabFile> parse_lab_file(std::string_view text, const std::string& path) {
    try {
        LabFile file;
        const YAML::Node document = YAML::Load(std::string(text));
        refuse_duplicates(document, "", 0);
        for (const auto& entry : map_at(document, "images", "")) {
            const std::string pattern = entry.first.Scalar();
            file.add(pattern, read_image(entry.second, "images." + pattern));
        }
        return file;
    } catch (const BadField& bad) {
        return fail(ErrorKind::invalid_input, path + ": " + bad.what);
    } catch (const YAML::Exception& bad) {
        return fail(ErrorKind::invalid_input, path + ": " + bad.what());
    }
}

}  // namespace orlop::lab
