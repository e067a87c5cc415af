#include "daemon/lab/manifest.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/pod.h"

#include <gtest/gtest.h>

namespace orlop::lab {
namespace {

std::string tutorial(const std::string& name) {
    const auto text =
        read_text_file(std::string(ORLOP_SOURCE_DIR) + "/deploy/lab/tutorials/" + name);
    EXPECT_TRUE(text) << name;
    return text ? *text : "";
}

Manifest parse(const std::string& text) {
    const auto manifest = parse_manifest(text, "test.yaml", "default");
    EXPECT_TRUE(manifest) << (manifest ? "" : manifest.error().context);
    return manifest ? *manifest : Manifest{};
}

std::string refusal(const std::string& text) {
    const auto manifest = parse_manifest(text, "test.yaml", "default");
    EXPECT_FALSE(manifest);
    return manifest ? "" : manifest.error().context;
}

TEST(Manifest, reads_the_tutorials_service_and_deployment) {
    const Manifest manifest = parse(tutorial("002-pricing.yaml"));
    ASSERT_EQ(manifest.services.size(), 1u);
    ASSERT_EQ(manifest.deployments.size(), 1u);
    const ServiceObject& service = manifest.services[0];
    EXPECT_EQ(service.meta.ns, "default");
    EXPECT_EQ(service.selector, (Labels{{"app", "pricing"}}));
    ASSERT_EQ(service.ports.size(), 1u);
    EXPECT_EQ(service.ports[0].port, 80);
    EXPECT_EQ(service.ports[0].target_port, "9090");
    const Container& container = manifest.deployments[0].pod.containers.at(0);
    EXPECT_EQ(container.image, "ghcr.io/nicholasjackson/fake-service:v0.26.2");
    ASSERT_EQ(container.env.size(), 4u);
    EXPECT_EQ(container.env[3].name, "ERROR_DELAY");
    EXPECT_EQ(container.env[3].value, "3s");
    EXPECT_EQ(manifest.deployments[0].pod.service_account, "default");
}

TEST(Manifest, keeps_a_jobs_shell_script_as_it_stands) {
    const Manifest manifest = parse(tutorial("002-traffic-generator.yaml"));
    ASSERT_EQ(manifest.jobs.size(), 1u);
    const JobObject& job = manifest.jobs[0];
    EXPECT_EQ(job.backoff_limit, 1);
    EXPECT_EQ(job.pod.restart_policy, "Never");
    const Container& container = job.pod.containers.at(0);
    EXPECT_EQ(container.command, (std::vector<std::string>{"/bin/sh", "-c"}));
    EXPECT_NE(container.args.at(0).find("--max-time 5 http://frontend/)"), std::string::npos);
}

TEST(Manifest, reads_every_tutorial_file) {
    for (const char* name : {"001-appflaky.yaml",
                             "001-client.yaml",
                             "001-peer-authentication-strict.yaml",
                             "001-virtual-service-retry.yaml",
                             "001-virtual-service-retry-5xx.yaml",
                             "001-peer-authentication-permissive.yaml",
                             "002-frontend.yaml",
                             "002-product.yaml",
                             "002-inventory.yaml",
                             "002-gateway.yaml",
                             "002-timeout-config.yaml",
                             "002-retry-config.yaml",
                             "002-circuit-breaker.yaml",
                             "002-high-traffic-generator.yaml",
                             "002-outlier-detection.yaml",
                             "002-failing-instance-config.yaml",
                             "002-fault-injection.yaml",
                             "002-continuous-traffic.yaml"}) {
        EXPECT_TRUE(parse_manifest(tutorial(name), name, "default")) << name;
    }
}

TEST(Manifest, keeps_quotes_when_it_fills_in_the_namespace) {
    const Manifest given = parse(R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  http:
  - match:
    - queryParams:
        test-v2:
          exact: "true"
      port: 80
)");
    ASSERT_EQ(given.others.size(), 1u);
    EXPECT_NE(given.others[0].text.find("exact: \"true\""), std::string::npos);
    EXPECT_NE(given.others[0].text.find("port: 80"), std::string::npos);
}

TEST(Manifest, hands_other_kinds_on_with_their_namespace) {
    const std::string text = tutorial("001-peer-authentication-strict.yaml");
    const Manifest given = parse(text);
    ASSERT_EQ(given.others.size(), 1u);
    EXPECT_EQ(given.others[0].text, text);
    EXPECT_EQ(given.others[0].meta.ns, "retryns");

    const Manifest filled = parse(tutorial("002-timeout-config.yaml"));
    ASSERT_EQ(filled.others.size(), 2u);
    EXPECT_NE(filled.others[1].text.find("namespace: default"), std::string::npos);
    EXPECT_NE(filled.others[1].text.find("0.5s"), std::string::npos);
}

TEST(Manifest, refuses_what_it_cannot_run_and_says_where) {
    struct Case {
        const char* text;
        const char* says;
    };
    const Case cases[] = {
        {"kind: Pod\n", "apiVersion and kind"},
        {"apiVersion: v1\nkind: Service\nkind: Pod\nmetadata: {name: a}\n", "key given twice"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: ../etc}\n", "metadata.name"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999}]}\n",
         "spec.ports.port"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n",
         "spec.containers"},
        {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n"
         "  selector: {matchLabels: {app: x}}\n"
         "  template: {spec: {containers: [{name: c, image: i}]}}\n",
         "matchLabels.app"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, "
         "env: [{name: X, valueFrom: {secretKeyRef: {name: s}}}]}]}\n",
         "fieldRef only"},
        {"a: [1\n", "document 1"},
        {"- a\n", "Kubernetes object"},
    };
    for (const Case& each : cases) {
        EXPECT_NE(refusal(each.text).find(each.says), std::string::npos)
            << each.text << refusal(each.text);
    }
}

TEST(Manifest, ignores_empty_documents_and_separators_with_blanks) {
    const Manifest manifest = parse(
        "---\n# nothing\n---  \napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n---\n");
    ASSERT_EQ(manifest.namespaces.size(), 1u);
    EXPECT_EQ(manifest.namespaces[0].meta.name, "shop");
}

TEST(LabFile, matches_images_by_pattern_with_or_without_tag) {
    const auto file = parse_lab_file(
        "images:\n  ghcr.io/x/fake-service: fake-service\n  \"*/echo:v2\": [http-echo, -v]\n"
        "  \"host:5000/app\": {command: [app], env: {A: b}}\n",
        "images.yaml");
    ASSERT_TRUE(file) << file.error().context;
    struct Case {
        const char* image;
        const char* program;  // nullptr: none
    };
    const Case cases[] = {{"ghcr.io/x/fake-service:v0.26.2", "fake-service"},
                          {"ghcr.io/x/fake-service", "fake-service"},
                          {"ghcr.io/x/fake-service@sha256:00", "fake-service"},
                          {"ghcr.io/x/fake-service-2:v1", nullptr},
                          {"docker.io/echo:v2", "http-echo"},
                          {"docker.io/echo:v1", nullptr},
                          {"host:5000/app:v3", "app"}};
    for (const Case& each : cases) {
        const ImageCommand* found = file->find(each.image);
        ASSERT_EQ(found != nullptr, each.program != nullptr) << each.image;
        if (found != nullptr) {
            EXPECT_EQ(found->argv.front(), each.program);
        }
    }
    EXPECT_EQ(file->find("host:5000/app")->env.at("A"), "b");
}

TEST(LabFile, the_shipped_one_knows_every_image_of_the_tutorials) {
    const auto text = read_text_file(std::string(ORLOP_SOURCE_DIR) + "/deploy/lab/images.yaml");
    ASSERT_TRUE(text);
    const auto file = parse_lab_file(*text, "images.yaml");
    ASSERT_TRUE(file) << file.error().context;
    for (const char* image : {"ghcr.io/nicholasjackson/fake-service:v0.26.2",
                              "pstauffer/curl",
                              "xr09/alpine-bash:latest",
                              "busybox",
                              "srinmantest.azurecr.io/appflaky:v1",
                              "srinmantest.azurecr.io/clientapp:v1"}) {
        EXPECT_NE(file->find(image), nullptr) << image;
    }
}

TEST(PodEnvironment, joins_image_defaults_manifest_and_fields) {
    LabFile images;
    images.add("app", {{"app"}, {{"A", "default"}, {"B", "default"}}});
    Pod pod;
    pod.meta = {"shop", "web-1", {{"app", "web"}}, {}};
    pod.node = 1;
    pod.number = 7;
    Container container;
    container.image = "app:v1";
    container.env = {{"B", "mine", ""},
                     {"IP", "", "status.podIP"},
                     {"NS", "", "metadata.namespace"},
                     {"LABEL", "", "metadata.labels['app']"}};
    LabConfig config;
    config.apps_dir = "/apps";
    const auto env = environment_of(pod, container, config, images);
    for (const char* wanted : {"A=default",
                               "B=mine",
                               "IP=10.244.1.7",
                               "NS=shop",
                               "LABEL=web",
                               "HOSTNAME=web-1",
                               "HOME=/root"}) {
        EXPECT_NE(std::find(env.begin(), env.end(), wanted), env.end()) << wanted;
    }
}

}  // namespace
}  // namespace orlop::lab
