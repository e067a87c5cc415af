#include "mtls/openssl.h"

// The one-shot EVP digests of OpenSSL 3.0 look their algorithm up under a lock at each call, and
// digest_parts() runs in every handshake; the plain SHA-256 functions do not.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <ctime>

namespace orlop::mtls {
namespace {

int refuse_passphrase(char*, int, int, void*) {
    return -1;
}

Owned<bio_st> read_only_bio(std::string_view text) {
    return Owned<bio_st>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string take_text(BIO* bio) {
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

bool reached_end_of_pem() {
    unsigned long code = ERR_peek_last_error();
    return code == 0 ||
           (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
}

WallTime to_wall_time(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
        return WallTime::min();
    }
    // Year 9999 is "no end" in X.509 but past the range of a nanosecond clock: year 2200 will do.
    constexpr std::time_t seconds_max = 7'258'118'400;
    return std::chrono::system_clock::from_time_t(std::min(timegm(&parts), seconds_max));
}

}  // namespace

void OpensslDeleter::operator()(bio_st* object) const noexcept {
    BIO_free_all(object);
}
void OpensslDeleter::operator()(evp_pkey_st* object) const noexcept {
    EVP_PKEY_free(object);
}
void OpensslDeleter::operator()(ssl_ctx_st* object) const noexcept {
    SSL_CTX_free(object);
}
void OpensslDeleter::operator()(ssl_session_st* object) const noexcept {
    SSL_SESSION_free(object);
}
void OpensslDeleter::operator()(ssl_st* object) const noexcept {
    SSL_free(object);
}
void OpensslDeleter::operator()(stack_st_X509* object) const noexcept {
    sk_X509_free(object);
}
void OpensslDeleter::operator()(x509_st* object) const noexcept {
    X509_free(object);
}
void OpensslDeleter::operator()(x509_store_st* object) const noexcept {
    X509_STORE_free(object);
}

std::string openssl_reason() {
    std::string text;
    for (int shown = 0; unsigned long code = ERR_get_error();) {
        const char* reason = ERR_reason_error_string(code);
        if (reason != nullptr && shown++ < 3) {
            text += text.empty() ? reason : fmt::format("; {}", reason);
        }
    }
    return text.empty() ? "no detail" : text;
}

Result<std::vector<Owned<x509_st>>>
parse_certificates(std::string_view pem, std::string_view what, std::size_t count_max) {
    ERR_clear_error();
    auto bio = read_only_bio(pem);
    std::vector<Owned<x509_st>> certificates;
    while (bio != nullptr) {
        Owned<x509_st> next(PEM_read_bio_X509(bio.get(), nullptr, refuse_passphrase, nullptr));
        if (next == nullptr) {
            break;
        }
        if (certificates.size() == count_max) {
            return fail(ErrorKind::limit_exceeded,
                        fmt::format("{}: more than {} certificates", what, count_max));
        }
        certificates.push_back(std::move(next));
    }
    if (certificates.empty() || !reached_end_of_pem()) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: not a list of PEM certificates ({}); expected "
                                "-----BEGIN CERTIFICATE----- blocks only",
                                what,
                                openssl_reason()));
    }
    ERR_clear_error();
    return certificates;
}

Result<Owned<evp_pkey_st>> parse_private_key(std::string_view pem, std::string_view what) {
    ERR_clear_error();
    auto bio = read_only_bio(pem);
    Owned<evp_pkey_st> key(
        bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_passphrase, nullptr) : nullptr);
    if (key == nullptr) {
        return fail(
            ErrorKind::invalid_input,
            fmt::format("{}: not an unencrypted PEM private key ({})", what, openssl_reason()));
    }
    return key;
}

std::string certificate_pem(const x509_st& certificate) {
    Owned<bio_st> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), &certificate);
    return take_text(bio.get());
}

std::string private_key_pem(const evp_pkey_st& key) {
    Owned<bio_st> bio(BIO_new(BIO_s_secmem()));
    PEM_write_bio_PrivateKey(bio.get(), &key, nullptr, nullptr, 0, refuse_passphrase, nullptr);
    return take_text(bio.get());
}

std::vector<std::uint8_t> certificate_der(const x509_st& certificate) {
    int size = i2d_X509(&certificate, nullptr);
    if (size <= 0) {
        return {};
    }
    std::vector<std::uint8_t> der(static_cast<std::size_t>(size));
    unsigned char* at = der.data();
    i2d_X509(&certificate, &at);
    return der;
}

WallTime not_before_of(const x509_st& certificate) {
    WallTime time = to_wall_time(X509_get0_notBefore(&certificate));
    return time == WallTime::min() ? WallTime::max() : time;  // unreadable: valid never
}

WallTime not_after_of(const x509_st& certificate) {
    return to_wall_time(X509_get0_notAfter(&certificate));
}

std::string format_time(WallTime time) {
    std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return std::string(text, size);
}

Digest digest_parts(std::span<const std::span<const std::uint8_t>> parts) {
    SHA256_CTX state;
    SHA256_Init(&state);
    for (auto part : parts) {
        std::uint64_t size = part.size();
        SHA256_Update(&state, &size, sizeof size);
        SHA256_Update(&state, part.data(), part.size());
    }
    Digest digest;
    SHA256_Final(digest.data(), &state);
    return digest;
}

}  // namespace orlop::mtls
