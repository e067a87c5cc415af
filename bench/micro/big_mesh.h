// A mesh of many services for the benchmarks: objects as they come from files, in a store.
#pragma once

#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <fmt/core.h>

#include <string>

namespace orlop::bench {

struct BigMesh {
    std::size_t services = 10'000;
    std::size_t pods_per_service = 10;
    std::size_t services_per_namespace = 100;

    std::string ns_of(std::size_t service) const {
        return fmt::format("ns{}", service / services_per_namespace);
    }
    std::string pod_text(std::size_t service, std::size_t pod, bool ready) const {
        std::size_t number = service * pods_per_service + pod;
        return fmt::format("apiVersion: v1\nkind: Pod\nmetadata:\n  name: s{0}-{1}\n"
                           "  namespace: {2}\n  uid: u{3}\n"
                           "  labels: {{app: s{0}, version: v{4}}}\nspec:\n  nodeName: n{5}\n"
                           "  containers: [{{name: c, ports: [{{containerPort: 8080}}]}}]\n"
                           "status:\n  phase: Running\n  podIP: 10.{6}.{7}.{8}\n"
                           "  conditions: [{{type: Ready, status: \"{9}\"}}]\n---\n",
                           service,
                           pod,
                           ns_of(service),
                           number,
                           pod % 2 + 1,
                           number % 100,
                           128 + number / 65536,
                           number / 256 % 256,
                           number % 256,
                           ready ? "True" : "False");
    }
    std::string service_text(std::size_t service) const {
        return fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: s{0}, namespace: "
                           "{1}}}\nspec:\n  clusterIP: 10.64.{2}.{3}\n  selector: {{app: s{0}}}\n"
                           "  ports: [{{name: http, port: 80, targetPort: 8080}}]\n---\n",
                           service,
                           ns_of(service),
                           service / 256,
                           service % 256);
    }
    std::string rules_text(std::size_t service) const {
        return fmt::format(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
            "metadata: {{name: s{0}, namespace: {1}}}\nspec:\n  hosts: [s{0}]\n  http:\n"
            "  - timeout: 1s\n    route:\n    - destination: {{host: s{0}, subset: v1}}\n"
            "      weight: 90\n    - destination: {{host: s{0}, subset: v2}}\n      weight: 10\n"
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
            "metadata: {{name: s{0}, namespace: {1}}}\nspec:\n  host: s{0}\n  subsets:\n"
            "  - {{name: v1, labels: {{version: v1}}}}\n"
            "  - {{name: v2, labels: {{version: v2}}}}\n---\n",
            service,
            ns_of(service));
    }
    // Every tenth service has a VirtualService and a DestinationRule with two subsets.
    void fill(control::ObjectStore& store) const {
        auto put = [&](const std::string& name, const std::string& text) {
            store.replace_source(name, control::decode_text(text, {.file = name}), 1);
        };
        for (std::size_t i = 0; i < services; ++i) {
            put(fmt::format("s{}.yaml", i), service_text(i));
            for (std::size_t pod = 0; pod < pods_per_service; ++pod) {
                put(fmt::format("p{}-{}.yaml", i, pod), pod_text(i, pod, true));
            }
            if (i % 10 == 0) {
                put(fmt::format("r{}.yaml", i), rules_text(i));
            }
        }
    }
};

}  // namespace orlop::bench
