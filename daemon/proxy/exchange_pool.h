// ExchangePool: exchanges of one core, reused so that a request allocates nothing once warm.
#pragma once

#include <memory>
#include <vector>

namespace orlop::proxy {

class Exchange;
class ProxyCore;

class ExchangePool {
public:
    explicit ExchangePool(ProxyCore& core);
    ~ExchangePool();
    std::unique_ptr<Exchange> take();
    void give_back(std::unique_ptr<Exchange> exchange);

private:
    ProxyCore& core_;
    std::vector<std::unique_ptr<Exchange>> spare_;
};

}  // namespace orlop::proxy
