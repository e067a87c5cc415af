#include "daemon/lab/object_files.h"

#include "daemon/base/limits.h"
#include "daemon/base/unique_fd.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

namespace orlop::lab {

namespace {

std::string indent(std::string_view text, int columns) {
    const std::string space(static_cast<std::size_t>(columns), ' ');
    std::string out;
    std::size_t start = 0;
    while (start < text.size()) {
        std::size_t end = text.find('\n', start);
        end = end == std::string_view::npos ? text.size() : end;
        out += space;
        out += text.substr(start, end - start);
        out += '\n';
        start = end + 1;
    }
    return out;
}

std::string map_lines(std::string_view key, const Labels& labels, int columns) {
    if (labels.empty()) {
        return {};
    }
    const std::string space(static_cast<std::size_t>(columns), ' ');
    std::string out = fmt::format("{}{}:\n", space, key);
    for (const auto& [name, value] : labels) {
        out += fmt::format("{}  {}: {}\n", space, quote(name), quote(value));
    }
    return out;
}

std::string render_meta(const Meta& meta, const std::string& created) {
    std::string out = fmt::format("metadata:\n  name: {}\n", quote(meta.name));
    if (!meta.ns.empty()) {
        out += fmt::format("  namespace: {}\n", quote(meta.ns));
    }
    if (!created.empty()) {
        out += fmt::format("  creationTimestamp: {}\n", quote(created));
    }
    out += map_lines("labels", meta.labels, 2);
    out += map_lines("annotations", meta.annotations, 2);
    return out;
}

std::string render_container(const Container& container) {
    std::string out =
        fmt::format("  - name: {}\n    image: {}\n", quote(container.name), quote(container.image));
    if (!container.ports.empty()) {
        out += "    ports:\n";
        for (const ContainerPort& port : container.ports) {
            out += fmt::format(
                "    - containerPort: {}\n      protocol: {}\n", port.port, port.protocol);
            if (!port.name.empty()) {
                out += fmt::format("      name: {}\n", quote(port.name));
            }
        }
    }
    return out + indent(container.probes_yaml, 4);
}

}  // namespace

std::string quote(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    return out + "\"";
}

std::string render_namespace(const Meta& meta, const std::string& created) {
    return "apiVersion: v1\nkind: Namespace\n" + render_meta(meta, created);
}

std::string render_service_account(const Meta& meta, const std::string& created) {
    return "apiVersion: v1\nkind: ServiceAccount\n" + render_meta(meta, created);
}

std::string render_service(const ServiceObject& service,
                           const std::vector<std::string>& ips,
                           const std::string& created) {
    std::string out = "apiVersion: v1\nkind: Service\n" + render_meta(service.meta, created);
    out += fmt::format("spec:\n  type: {}\n", quote(service.type));
    if (!ips.empty()) {
        out += fmt::format("  clusterIP: {}\n  clusterIPs:\n", quote(ips.front()));
        for (const std::string& ip : ips) {
            out += fmt::format("  - {}\n", quote(ip));
        }
    }
    out += map_lines("selector", service.selector, 2);
    if (!service.ports.empty()) {
        out += "  ports:\n";
    }
    for (const ServicePort& port : service.ports) {
        out += fmt::format("  - port: {}\n    protocol: {}\n", port.port, port.protocol);
        const bool number = port.target_port.find_first_not_of("0123456789") == std::string::npos;
        out += fmt::format("    targetPort: {}\n",
                           number ? port.target_port : quote(port.target_port));
        if (!port.name.empty()) {
            out += fmt::format("    name: {}\n", quote(port.name));
        }
        if (!port.app_protocol.empty()) {
            out += fmt::format("    appProtocol: {}\n", quote(port.app_protocol));
        }
    }
    return out;
}

std::string render_node(const std::string& name, const std::vector<std::string>& ips) {
    std::string out = fmt::format("apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n  labels:\n"
                                  "    kubernetes.io/hostname: {}\nstatus:\n  addresses:\n",
                                  quote(name),
                                  quote(name));
    for (const std::string& ip : ips) {
        out += fmt::format("  - type: InternalIP\n    address: {}\n", quote(ip));
    }
    return out;
}

std::string render_pod(const PodView& view, const PodTemplate& pod) {
    std::string meta = render_meta(view.meta, view.created);
    meta += fmt::format("  uid: {}\n", quote(view.uid));
    if (!view.deleted.empty()) {
        meta += fmt::format("  deletionTimestamp: {}\n", quote(view.deleted));
    }
    if (!view.owner_kind.empty()) {
        meta += fmt::format(
            "  ownerReferences:\n  - apiVersion: {}\n    kind: {}\n    name: {}\n    uid: {}\n"
            "    controller: true\n",
            view.owner_kind == "Job" ? "batch/v1" : "apps/v1",
            view.owner_kind,
            quote(view.owner_name),
            quote(view.owner_name));
    }
    std::string out = "apiVersion: v1\nkind: Pod\n" + meta;
    out += fmt::format("spec:\n  nodeName: {}\n  serviceAccountName: {}\n  restartPolicy: {}\n",
                       quote(view.node),
                       quote(pod.service_account),
                       quote(pod.restart_policy));
    out += "  containers:\n";
    for (const Container& container : pod.containers) {
        out += render_container(container);
    }
    out += fmt::format("status:\n  phase: {}\n  hostIP: {}\n", view.phase, quote(view.host_ip));
    out += fmt::format("  podIP: {}\n  podIPs:\n", quote(view.ips.front()));
    for (const std::string& ip : view.ips) {
        out += fmt::format("  - ip: {}\n", quote(ip));
    }
    const char* ready = view.ready == PodView::Ready::yes ? "True" : "False";
    out += fmt::format("  conditions:\n  - type: Ready\n    status: \"{}\"\n", ready);
    return out;
}

std::string
render_sandbox(const PodView& view, const std::string& netns, const std::string& cgroup) {
    return fmt::format(
        "apiVersion: orlop.dev/v1\nkind: PodSandbox\nmetadata:\n  name: {}\n  namespace: {}\n"
        "  uid: {}\nspec:\n  netns: {}\n  cgroup: {}\n",
        quote(view.meta.name),
        quote(view.meta.ns),
        quote(view.uid),
        quote(netns),
        quote(cgroup));
}

std::string object_file_name(std::string_view kind, std::string_view ns, std::string_view name) {
    std::string lower;
    for (const char c : kind) {
        lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return ns.empty() ? fmt::format("lab-{}-{}.yaml", lower, name)
                      : fmt::format("lab-{}-{}-{}.yaml", lower, ns, name);
}

Result<void> write_atomically(const std::string& path, std::string_view text, Readers readers) {
    // The leading dot keeps the half-written file out of directory watchers' sight.
    const std::size_t slash = path.rfind('/');
    const std::string beside = path.substr(0, slash + 1) + "." + path.substr(slash + 1) + ".new";
    const mode_t mode = readers == Readers::owner ? 0600 : 0644;
    UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!file.valid()) {
        return fail_errno(errno, "write " + beside);
    }
    while (!text.empty()) {
        const ssize_t written = ::write(file.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail_errno(errno, "write " + beside);
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    file.reset();
    if (::rename(beside.c_str(), path.c_str()) != 0) {
        return fail_errno(errno, "rename to " + path);
    }
    return {};
}

Result<std::string> read_text_file(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
        return fail_errno(errno, "read " + path);
    }
    std::string text;
    char buffer[16 * 1024];
    while (text.size() <= limits::yaml_file_bytes_max) {
        const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return fail_errno(errno, "read " + path);
        }
        if (count == 0) {
            return text;
        }
        text.append(buffer, static_cast<std::size_t>(count));
    }
    return fail(ErrorKind::limit_exceeded, path + ": larger than yaml_file_bytes_max");
}

void remove_file(const std::string& path) {
    ::unlink(path.c_str());
}

}  // namespace orlop::lab
