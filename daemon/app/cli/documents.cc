#include "daemon/app/cli/documents.h"

#include "daemon/control/objects/validate.h"
#include "daemon/control/yaml_document.h"

#include <algorithm>
#include <array>

namespace orlop::app::cli {
namespace {

constexpr std::array<std::string_view, 16> lab_kinds = {"deployment",
                                                        "deployments",
                                                        "deploy",
                                                        "job",
                                                        "jobs",
                                                        "pod",
                                                        "pods",
                                                        "po",
                                                        "service",
                                                        "services",
                                                        "svc",
                                                        "namespace",
                                                        "namespaces",
                                                        "ns",
                                                        "serviceaccount",
                                                        "serviceaccounts"};

bool separates(std::string_view line) {
    return line == "---" || line.starts_with("--- ") || line.starts_with("---\t") ||
           line.starts_with("---\r");
}

std::size_t end_of_line(std::string_view text, std::size_t at) {
    std::size_t end = text.find('\n', at);
    return end == std::string_view::npos ? text.size() : end + 1;
}

// One document with the separator before it.
std::string_view take_document(std::string_view& text) {
    std::size_t at = end_of_line(text, 0);
    while (at < text.size()) {
        std::size_t end = end_of_line(text, at);
        std::string_view line = text.substr(at, end - at);
        if (line.ends_with('\n')) {
            line.remove_suffix(1);
        }
        if (separates(line)) {
            break;
        }
        at = end;
    }
    std::string_view document = text.substr(0, at);
    text.remove_prefix(at);
    return document;
}

bool is_lab_document(const control::Node& document) {
    if (is_lab_kind(document.text_of("kind"))) {
        return true;
    }
    const control::Node* items = document.find("items");
    return items != nullptr && items->is_list() &&
           std::ranges::any_of(items->items, is_lab_document);
}

enum class Owner : unsigned char { nobody, lab, mesh };

Owner owner_of(std::string_view document) {
    auto parsed = control::parse_yaml(document);
    if (!parsed) {
        return Owner::mesh;  // which says what is wrong with it
    }
    if (parsed->empty()) {
        return Owner::nobody;
    }
    return is_lab_document(parsed->front()) ? Owner::lab : Owner::mesh;
}

// The same number of lines without content.
std::string blank(std::string_view document) {
    std::string lines(static_cast<std::size_t>(std::ranges::count(document, '\n')), '\n');
    return document.starts_with("---") ? "---" + lines : lines;
}

}  // namespace

bool is_lab_kind(std::string_view kind) {
    std::string lower = control::to_lower(kind);
    return std::ranges::find(lab_kinds, lower) != lab_kinds.end() || lower == "sa";
}

SplitText split_documents(std::string_view text) {
    SplitText out;
    bool any_lab = false;
    bool any_mesh = false;
    while (!text.empty()) {
        std::string_view document = take_document(text);
        Owner owner = owner_of(document);
        any_lab = any_lab || owner == Owner::lab;
        any_mesh = any_mesh || owner == Owner::mesh;
        out.lab += owner == Owner::lab ? std::string(document) : blank(document);
        out.mesh += owner == Owner::mesh ? std::string(document) : blank(document);
    }
    if (!any_lab) {
        out.lab.clear();
    }
    if (!any_mesh) {
        out.mesh.clear();
    }
    return out;
}

}  // namespace orlop::app::cli
