#include "daemon/app/tls_contexts.h"

#include "daemon/base/log.h"
#include "daemon/net/tls_identity.h"

namespace orlop::app {

void TlsContexts::follow(const model::Snapshot& snapshot) {
    wanted_.clear();
    for (const TlsTermsPtr& terms : snapshot.tls_terms()) {
        wanted_.insert(terms->key);
        if (!held_.contains(terms->key)) {
            hand_out(terms);
        }
    }
}

// One context per core: contexts are not shared between threads.
void TlsContexts::hand_out(const TlsTermsPtr& terms) {
    auto filled = terms;
    if (terms->mesh_identity) {
        auto copy = std::make_shared<TlsTerms>(*terms);
        if (!certificates_.fill(*copy)) {
            return;  // renew() tries again
        }
        filled = std::move(copy);
    }
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        auto context = net::make_tls(filled);
        if (!context) {
            log_line(LogLevel::error, "app", "TLS context: {}", context.error().context);
            return;
        }
        cores_.tell(i, [key = terms->key, context = std::move(*context)](proxy::ProxyCore& core) {
            core.set_tls(key, context);
        });
    }
    held_[terms->key] = filled->certificates;
}

void TlsContexts::drop_unused() {
    std::erase_if(held_, [&](const auto& entry) {
        if (wanted_.contains(entry.first)) {
            return false;
        }
        cores_.tell_all([key = entry.first](proxy::ProxyCore& core) { core.remove_tls(key); });
        return true;
    });
}

void TlsContexts::renew(const model::Snapshot& snapshot) {
    for (const TlsTermsPtr& terms : snapshot.tls_terms()) {
        if (!terms->mesh_identity) {
            continue;
        }
        TlsTerms now = *terms;
        auto held = held_.find(terms->key);
        bool news =
            certificates_.fill(now) && (held == held_.end() || held->second != now.certificates);
        if (news) {
            hand_out(terms);
        }
    }
}

}  // namespace orlop::app
