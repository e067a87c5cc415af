// spec.tracing of MeshConfig: how many requests are traced and where their spans go
// (istio-semantics §15).
#include "daemon/control/objects/decoders.h"

#include <fmt/core.h>

namespace orlop::control {

using model::TracingConfig;

model::TracingConfig decode_tracing(FieldReader& parent) {
    TracingConfig out;
    FieldReader reader(parent.report(), parent.take("tracing"), parent.path_of("tracing"));
    if (!reader.present()) {
        return out;
    }
    out.sampling_percent = reader.number("sampling", 0, 100).value_or(out.sampling_percent);
    auto exporter = reader.choice("exporter", {"none", "otlp", "zipkin"});
    out.exporter = static_cast<TracingConfig::Exporter>(exporter.value_or(0));
    auto headers = reader.choice("headers", {"received", "w3c", "b3", "b3multi"});
    out.propagation = static_cast<TracingConfig::Propagation>(headers.value_or(0));
    bool zipkin = out.exporter == TracingConfig::Exporter::zipkin;
    out.path = reader.text_or("path", zipkin ? "/api/v2/spans" : "/v1/traces");
    if (!out.path.starts_with('/') || out.path.find_first_of(" \r\n") != std::string::npos) {
        reader.error("path", "the path of an HTTP endpoint begins with / and has no spaces");
    }
    auto text = reader.text("address");
    if (out.exporter == TracingConfig::Exporter::none) {
        return out;
    }
    auto address = SocketAddress::parse(text.value_or(""));
    if (!address || address->port == 0) {
        reader.error("address",
                     fmt::format("\"{:.80}\" is no address", text.value_or("")),
                     "address and port of the collector, such as 10.0.0.7:4318");
        return out;
    }
    out.collector = *address;
    return out;
}

}  // namespace orlop::control
