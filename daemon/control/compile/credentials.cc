#include "daemon/control/compile/credentials.h"

#include "daemon/base/limits.h"
#include "daemon/base/unique_fd.h"
#include "daemon/net/tls_identity.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace orlop::control {
namespace {

Result<std::string> read_whole(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd.valid()) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("cannot read {}: {}; check path and permissions",
                                path,
                                std::strerror(errno)));
    }
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        return fail(ErrorKind::invalid_input, path + " is not a regular file");
    }
    std::string text;
    std::array<char, 16 * 1024> buffer;
    while (text.size() <= limits::ca_file_bytes_max) {
        ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got == 0 ? Result<std::string>(std::move(text))
                            : fail(ErrorKind::invalid_input,
                                   fmt::format("cannot read {}: {}", path, std::strerror(errno)));
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return fail(ErrorKind::limit_exceeded,
                fmt::format("{} is larger than {} bytes (ca_file_bytes_max)",
                            path,
                            limits::ca_file_bytes_max));
}

}  // namespace

CredentialFiles::Stamp CredentialFiles::stamp_of(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) {
        return {};
    }
    return {status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
            static_cast<std::uint64_t>(status.st_size),
            status.st_ino,
            status.st_mode};
}

Result<std::string> CredentialFiles::read(const std::string& path) {
    Stamp stamp = stamp_of(path);
    auto [at, added] = entries_.try_emplace(path);
    Entry& entry = at->second;
    entry.used = true;
    if (added || entry.stamp != stamp) {
        auto text = read_whole(path);
        entry.stamp = stamp;
        entry.text = text ? std::move(*text) : std::string();
        entry.error = text ? std::string() : text.error().context;
    }
    return entry.error.empty() ? Result<std::string>(entry.text)
                               : fail(ErrorKind::invalid_input, entry.error);
}

bool CredentialFiles::changed() const {
    for (const auto& [path, entry] : entries_) {
        if (stamp_of(path) != entry.stamp) {
            return true;
        }
    }
    return false;
}

void CredentialFiles::begin_use() {
    for (auto& [path, entry] : entries_) {
        entry.used = false;
    }
}

void CredentialFiles::end_use() {
    std::erase_if(entries_, [](const auto& entry) { return !entry.second.used; });
}

Credentials::Credentials(const ObjectStore& store,
                         CredentialFiles& files,
                         std::map<std::string, std::string>& verdicts,
                         FindingSink& findings)
    : store_(store), files_(files), verdicts_(verdicts), findings_(findings) {
    files_.begin_use();
}

Result<void> Credentials::fill(const CredentialNames& names, TlsTerms& terms) {
    return names.credential_name.empty() ? fill_from_files(names, terms)
                                         : fill_from_secret(names, terms);
}

Result<void> Credentials::fill_from_secret(const CredentialNames& names, TlsTerms& terms) {
    auto find = [&](const std::string& name) -> const SecretSpec* {
        const StoredObject* stored = store_.find({"Secret", names.ns, name});
        return stored == nullptr || stored->object == nullptr
                   ? nullptr
                   : &std::get<SecretSpec>(stored->object->spec);
    };
    const std::string& name = names.credential_name;
    const SecretSpec* secret = find(name);
    const SecretSpec* roots = find(name + "-cacert");
    if (secret == nullptr && (roots == nullptr || terms.role == TlsRole::server)) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("Secret {}/{} does not exist", names.ns, name));
    }
    if (secret != nullptr) {
        terms.certificates = secret->certificate;
        terms.private_key = secret->private_key;
        terms.roots = secret->roots;
    }
    if (terms.roots.empty() && roots != nullptr) {
        terms.roots = roots->roots.empty() ? roots->certificate : roots->roots;
    }
    bool half = terms.certificates.empty() != terms.private_key.empty();
    if (half || (terms.role == TlsRole::server && terms.certificates.empty())) {
        return fail(
            ErrorKind::invalid_input,
            fmt::format("Secret {}/{} lacks tls.crt or tls.key (or cert and key)", names.ns, name));
    }
    if (terms.role == TlsRole::server && terms.peer != TlsPeer::unchecked && terms.roots.empty()) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("neither Secret {0}/{1} nor Secret {0}/{1}-cacert has ca.crt",
                                names.ns,
                                name));
    }
    return {};
}

Result<void> Credentials::fill_from_files(const CredentialNames& names, TlsTerms& terms) {
    struct Wanted {
        const std::string& path;
        std::string& text;
    };
    for (const Wanted& wanted : {Wanted{names.certificate_file, terms.certificates},
                                 Wanted{names.private_key_file, terms.private_key},
                                 Wanted{names.roots_file, terms.roots}}) {
        if (wanted.path.empty()) {
            continue;
        }
        auto text = files_.read(wanted.path);
        if (!text) {
            return std::unexpected(text.error());
        }
        wanted.text = std::move(*text);
    }
    struct stat status = {};
    bool known =
        !names.private_key_file.empty() && ::stat(names.private_key_file.c_str(), &status) == 0;
    if (known && (status.st_mode & 077) != 0) {
        findings_.warn("ORL032",
                       names.source,
                       names.path + ".privateKey",
                       "others than the owner may read " + names.private_key_file,
                       "chmod 0600 the file");
    }
    return {};
}

Result<TlsTermsPtr> Credentials::keep(TlsTerms terms) {
    terms.key = tls_terms_key(terms);
    if (auto known = kept_.find(terms.key); known != kept_.end()) {
        return known->second;
    }
    auto shared = std::make_shared<const TlsTerms>(std::move(terms));
    // A mesh identity's texts are filled in later, by the node that holds them.
    auto verdict = verdicts_.find(shared->key);
    std::string error;
    if (verdict != verdicts_.end()) {
        error = verdict->second;
    } else if (!shared->mesh_identity) {
        auto tried = net::make_tls(shared);
        error = tried ? std::string() : tried.error().context;
    }
    asked_[shared->key] = error;
    if (!error.empty()) {
        return fail(ErrorKind::invalid_input, error);
    }
    kept_.emplace(shared->key, shared);
    return shared;
}

std::vector<TlsTermsPtr> Credentials::take() {
    files_.end_use();
    verdicts_ = std::move(asked_);
    std::vector<TlsTermsPtr> out;
    for (auto& [key, terms] : kept_) {
        out.push_back(std::move(terms));
    }
    return out;
}

}  // namespace orlop::control
