// SteadyLoad: a client in a pod that goes on while a test changes the world around it.
//
// Owned by the test; the destructor ends the client. The test's thread starts, watches and stops;
// one thread of its own waits for the client's process.
//
//     SteadyLoad load(lab, "default/client", {.url = "http://echo/", .options = {"-k"}});
//     ASSERT_TRUE(load.await([](auto& now) { return now.success >= 100; }));
//     ... enrol the pod ...
//     EXPECT_EQ(load.stop().failed(), 0);
#pragma once

#include "daemon/lab/lab.h"
#include "tests/apps/progress.h"

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace orlop::support {

class SteadyLoad {
public:
    struct Wish {
        std::string url;
        std::vector<std::string> options;  // of steady-client
    };
    SteadyLoad(lab::Lab& lab, const std::string& pod, const Wish& wish);
    ~SteadyLoad();
    SteadyLoad(const SteadyLoad&) = delete;
    SteadyLoad& operator=(const SteadyLoad&) = delete;

    const apps::Progress& now() const { return *progress_; }
    // Until `enough` holds; false after `limit`.
    bool await(const std::function<bool(const apps::Progress&)>& enough,
               std::chrono::seconds limit = std::chrono::seconds(30)) const;
    // `count` further calls have been answered with success.
    bool await_successes(std::uint64_t count) const;
    bool await_attempts(std::uint64_t count) const;
    const apps::Progress& stop();
    std::string failures() const;  // the first ones, for messages

private:
    std::string path_;
    apps::Progress* progress_ = nullptr;
    std::thread waiter_;
    std::string said_;  // why the client could not run; read after stop()
};

}  // namespace orlop::support
