#include "tests/support/steady_load.h"

#include "tests/support/await.h"

#include <fmt/core.h>

#include <atomic>

namespace orlop::support {

namespace {

std::atomic<int> loads_made{0};

}  // namespace

SteadyLoad::SteadyLoad(lab::Lab& lab, const std::string& pod, const Wish& wish)
    : path_(fmt::format("{}/load-{}", lab.location().state_dir, ++loads_made)),
      progress_(apps::map_progress(path_.c_str())) {
    if (progress_ == nullptr) {
        throw std::runtime_error("cannot map " + path_);
    }
    std::vector<std::string> argv = {"steady-client", "-p", path_};
    argv.insert(argv.end(), wish.options.begin(), wish.options.end());
    argv.push_back(wish.url);
    waiter_ = std::thread([this, lab = lab, pod, argv = std::move(argv)]() mutable {
        const auto output = lab.capture(pod, argv);
        said_ = output ? output->err : output.error().context;
    });
}

SteadyLoad::~SteadyLoad() {
    stop();
    ::munmap(progress_, sizeof *progress_);
}

bool SteadyLoad::await(const std::function<bool(const apps::Progress&)>& enough,
                       std::chrono::seconds limit) const {
    return support::await([&] { return enough(*progress_); }, limit);
}

bool SteadyLoad::await_successes(std::uint64_t count) const {
    const std::uint64_t goal = progress_->success + count;
    return await([goal](const apps::Progress& now) { return now.success >= goal; });
}

bool SteadyLoad::await_attempts(std::uint64_t count) const {
    const std::uint64_t goal = progress_->attempts + count;
    return await([goal](const apps::Progress& now) { return now.attempts >= goal; });
}

const apps::Progress& SteadyLoad::stop() {
    progress_->stop = 1;
    if (waiter_.joinable()) {
        waiter_.join();
    }
    return *progress_;
}

std::string SteadyLoad::failures() const {
    std::string text = fmt::format("{} attempts, {} successes, {} failures\n",
                                   progress_->attempts.load(),
                                   progress_->success.load(),
                                   progress_->failed());
    for (const auto& line : progress_->first_failures) {
        text += line[0] == 0 ? "" : std::string(line) + "\n";
    }
    return text + said_;
}

}  // namespace orlop::support
