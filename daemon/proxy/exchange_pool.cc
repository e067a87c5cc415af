#include "daemon/proxy/exchange_pool.h"

#include "daemon/proxy/exchange.h"

namespace orlop::proxy {

ExchangePool::ExchangePool(ProxyCore& core) : core_(core) {}
ExchangePool::~ExchangePool() = default;

std::unique_ptr<Exchange> ExchangePool::take() {
    if (spare_.empty()) {
        return std::make_unique<Exchange>(core_);
    }
    auto exchange = std::move(spare_.back());
    spare_.pop_back();
    return exchange;
}

void ExchangePool::give_back(std::unique_ptr<Exchange> exchange) {
    constexpr std::size_t spare_max = 256;
    if (spare_.size() < spare_max) {
        exchange->reset();
        spare_.push_back(std::move(exchange));
    }
}

}  // namespace orlop::proxy
