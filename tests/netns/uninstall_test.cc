// What orlop put into the kernel goes away completely, and what was there before is as it was.
#include "tests/support/await.h"
#include "tests/support/mesh_lab.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace orlop::support {
namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr const char* kinds[] = {"link", "prog", "map"};

// Something that nobody holds and that was not there before is a leak; an object of another
// process on this machine that runs meanwhile is not ours to judge.
struct KernelObject {
    std::string text;
    std::set<int> holders;
    std::vector<std::string> pins;
};
// By "link 12"; ids are never used twice until a reboot.
using KernelObjects = std::map<std::string, KernelObject>;

class Uninstall : public MeshLab {
protected:
    static KernelObjects kernel_objects() {
        KernelObjects found;
        for (const char* kind : kinds) {
            const json list =
                json::parse(here({"bpftool", "-j", "-f", kind, "list"}), nullptr, false);
            if (!list.is_array()) {
                ADD_FAILURE() << "bpftool " << kind << " list gives no JSON";
                continue;
            }
            for (const json& row : list) {
                KernelObject object;
                object.text = row.dump();
                for (const json& holder : row.value("pids", json::array())) {
                    object.holders.insert(holder.value("pid", 0));
                }
                for (const json& pin : row.value("pinned", json::array())) {
                    object.pins.push_back(pin.get<std::string>());
                }
                found[fmt::format("{} {}", kind, row.value("id", 0))] = std::move(object);
            }
        }
        return found;
    }
    // Held by our orlopd or pinned in our folder.
    std::set<std::string> ours(const KernelObjects& objects) {
        const int pid = node().orlopd_pid;
        std::set<std::string> mine;
        for (const auto& [id, object] : objects) {
            bool pinned = false;
            for (const std::string& pin : object.pins) {
                pinned = pinned || pin.starts_with("/sys/fs/bpf/" + location_.prefix + "-");
            }
            if (pinned || object.holders.contains(pid)) {
                mine.insert(id);
            }
        }
        return mine;
    }
    static std::vector<std::string> still_there(const std::set<std::string>& ids) {
        std::vector<std::string> left;
        const auto now = kernel_objects();
        for (const std::string& id : ids) {
            if (const auto found = now.find(id); found != now.end()) {
                left.push_back(id + " " + found->second.text);
            }
        }
        return left;
    }
    static std::vector<std::string> ownerless_and_new(const KernelObjects& before) {
        std::vector<std::string> found;
        for (const auto& [id, object] : kernel_objects()) {
            if (object.holders.empty() && !before.contains(id)) {
                found.push_back(id + " " + object.text);
            }
        }
        return found;
    }
    // Rules, routes, addresses, links and the settings orlop may touch, as a pod has them.
    std::string network_of(const std::string& pod_name) {
        std::string text;
        for (const std::vector<std::string>& question :
             {std::vector<std::string>{"ip", "-4", "rule"},
              {"ip", "-6", "rule"},
              {"ip", "-4", "route", "show", "table", "all"},
              {"ip", "-6", "route", "show", "table", "all"},
              {"ip", "-br", "link"},
              {"ip", "-br", "addr"},
              {"sysctl", "-a", "-r", "^net\\.ipv[46]\\.conf"},
              {"sysctl", "-a", "-r", "^net\\.ipv4\\.(ip_nonlocal|tcp_l3mdev|fwmark|tcp_fwmark)"},
              {"nft", "list", "ruleset"}}) {
            text += fmt::format("# {}\n", fmt::join(question, " ")) + run_in(pod_name, question);
        }
        return text;
    }
    std::string of_machine() {
        std::string text;
        for (const std::vector<std::string>& question :
             {std::vector<std::string>{"ip", "-4", "rule"},
              {"ip", "-6", "rule"},
              {"ip", "-4", "route", "show", "table", "all"},
              {"ip", "-6", "route", "show", "table", "all"}}) {
            text += here(question);
        }
        return text;
    }
    // Names of this lab that exist anywhere on the machine.
    std::vector<std::string> traces() {
        std::vector<std::string> found;
        for (const char* root :
             {"/run/netns", "/run", "/sys/fs/bpf", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
            std::error_code error;
            const auto skip = std::filesystem::directory_options::skip_permission_denied;
            for (std::filesystem::directory_iterator at(root, skip, error), end; at != end;
                 at.increment(error)) {
                if (at->path().filename().string().find(location_.prefix) != std::string::npos) {
                    found.push_back(at->path().string());
                }
            }
        }
        return found;
    }
    void traffic() {
        EXPECT_EQ(load("client", "http://echo/", {"-n", "50", "-c", "2"}).success, 50);
        EXPECT_EQ(load("client", "http://echo/", {"-n", "20", "-6"}).success, 20);
        EXPECT_EQ(load("outside/stranger", "http://echo.default/", {"-n", "20"}).success, 20);
    }
};

TEST_F(Uninstall, leaves_a_running_pod_as_it_was_before_the_mesh) {
    const KernelObjects before = kernel_objects();
    const std::string machine_before = of_machine();
    start();
    apply("echo.yaml", echo_yaml);
    apply("client.yaml", client_yaml);
    const std::string echo_before = network_of("echo");
    const std::string client_before = network_of("client");

    enrol("default");
    traffic();
    EXPECT_NE(network_of("echo"), echo_before) << "capture is visible, or this proves nothing";
    const auto mine = ours(kernel_objects());
    EXPECT_GE(mine.size(), 6U) << "links of two pods and the node, programs, maps";

    const auto n1 = node();
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::stop));
    EXPECT_FALSE(still_there(mine).empty()) << "a stopped orlopd leaves capture in place";
    const std::vector<std::string> uninstall = {bin_dir() + "/orlopctl",
                                                "uninstall",
                                                "--bpffs",
                                                "/sys/fs/bpf/" + location_.prefix + "-n1",
                                                "--cgroup",
                                                n1.cgroup,
                                                "--state-dir",
                                                n1.state_dir + "/state"};
    const std::string said = here(uninstall);
    EXPECT_TRUE(await([&] { return still_there(mine).empty(); }, seconds(10)))
        << said << fmt::format("{}", fmt::join(still_there(mine), "\n"));
    EXPECT_EQ(network_of("echo"), echo_before) << said;
    EXPECT_EQ(network_of("client"), client_before) << said;
    EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/" + location_.prefix + "-n1")) << said;
    traffic();        // direct again
    here(uninstall);  // twice is as good as once

    ASSERT_TRUE(lab_.down());
    EXPECT_TRUE(await([&] { return ownerless_and_new(before).empty(); }, seconds(10)))
        << fmt::format("{}", fmt::join(ownerless_and_new(before), "\n"));
    EXPECT_EQ(traces(), std::vector<std::string>());
    EXPECT_EQ(of_machine(), machine_before);
}

TEST_F(Uninstall, lab_down_takes_everything_along_even_after_kill_9) {
    const KernelObjects before = kernel_objects();
    start({.nodes = 2});
    apply("echo.yaml", echo_yaml);
    apply("client.yaml", client_yaml);
    enrol("default");
    traffic();
    const auto mine = ours(kernel_objects());
    EXPECT_GE(mine.size(), 6U);
    ASSERT_TRUE(lab_.mesh("", lab::MeshAction::kill));
    ASSERT_TRUE(lab_.down());
    EXPECT_TRUE(await([&] { return still_there(mine).empty(); }, seconds(10)))
        << fmt::format("{}", fmt::join(still_there(mine), "\n"));
    EXPECT_TRUE(await([&] { return ownerless_and_new(before).empty(); }, seconds(10)))
        << fmt::format("{}", fmt::join(ownerless_and_new(before), "\n"));
    EXPECT_EQ(traces(), std::vector<std::string>());
}

TEST_F(Uninstall, a_label_taken_away_leaves_the_pod_s_namespace_as_it_was) {
    start();
    apply("echo.yaml", echo_yaml);
    apply("client.yaml", client_yaml);
    const std::string echo_before = network_of("echo");
    enrol("default");
    traffic();
    label("ns/default", "istio.io/dataplane-mode-");
    EXPECT_TRUE(await([&] { return network_of("echo") == echo_before; }, seconds(30)))
        << echo_before << "\n---\n"
        << network_of("echo");
    traffic();
}

}  // namespace
}  // namespace orlop::support
