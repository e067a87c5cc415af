// Credentials: the certificates, keys and CAs that Gateways and DestinationRules name, as texts,
// and the TlsTerms made of them.
//
// Files are read on the control thread and remembered by path; CredentialFiles::changed() tells
// when one was replaced, so that the owner of the Compiler compiles again. Every TlsTerms is tried
// once: what cannot work is a finding, and connections that need it are refused.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/tls_terms.h"
#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace orlop::control {

// Outlives compilations. Control thread.
class CredentialFiles {
public:
    // The file's text; errors name the path and what to do.
    Result<std::string> read(const std::string& path);
    // Whether a file that was read since forget_unused() is another one now.
    bool changed() const;
    void begin_use();  // before a compilation: what it does not read is forgotten by end_use()
    void end_use();

private:
    struct Stamp {
        std::int64_t mtime_ns = -1;
        std::uint64_t size = 0;
        std::uint64_t inode = 0;
        unsigned mode = 0;
        bool operator==(const Stamp&) const = default;
    };
    struct Entry {
        Stamp stamp;
        std::string text;
        std::string error;
        bool used = false;
    };
    static Stamp stamp_of(const std::string& path);
    std::map<std::string, Entry> entries_;
};

struct CredentialNames {
    std::string credential_name;  // of a Secret; excludes the files
    std::string ns;               // of the Secret
    std::string certificate_file;
    std::string private_key_file;
    std::string roots_file;
    std::string path;  // of the field that names them, for findings
    model::ObjectRefPtr source;
};

class Credentials {
public:
    // `verdicts`: of earlier compilations, by key; what is not asked for again is dropped.
    Credentials(const ObjectStore& store,
                CredentialFiles& files,
                std::map<std::string, std::string>& verdicts,
                FindingSink& findings);

    // Fills certificates, private_key and roots of `terms`. The text says what is missing.
    Result<void> fill(const CredentialNames& names, TlsTerms& terms);
    // The terms to use, the same object for equal terms; an error when they cannot work.
    Result<TlsTermsPtr> keep(TlsTerms terms);
    std::vector<TlsTermsPtr> take();  // everything that was kept

private:
    Result<void> fill_from_secret(const CredentialNames& names, TlsTerms& terms);
    Result<void> fill_from_files(const CredentialNames& names, TlsTerms& terms);

    const ObjectStore& store_;
    CredentialFiles& files_;
    std::map<std::string, std::string>& verdicts_;
    std::map<std::string, std::string> asked_;
    std::map<std::string, TlsTermsPtr> kept_;
    FindingSink& findings_;
};

}  // namespace orlop::control
