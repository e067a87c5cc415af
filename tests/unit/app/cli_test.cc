#include "daemon/app/cli/arguments.h"
#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/documents.h"
#include "daemon/app/cli/table.h"
#include "tests/unit/app/scratch_directory.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <unistd.h>

namespace orlop::app::cli {
namespace {

// A stream in memory that a command writes to.
class Captured {
public:
    Captured() : file_(::open_memstream(&text_, &size_)) {}
    ~Captured() {
        std::fclose(file_);
        std::free(text_);
    }
    std::FILE* file() { return file_; }
    std::string text() {
        std::fflush(file_);
        return {text_, size_};
    }

private:
    char* text_ = nullptr;
    std::size_t size_ = 0;
    std::FILE* file_;
};

struct Outcome {
    int code = -1;
    std::string out;
    std::string err;
};

Outcome run_command(const std::vector<std::string>& arguments, Session session = {}) {
    Captured out;
    Captured err;
    session.out = out.file();
    session.err = err.file();
    if (session.lab_dir == "/run/orlop-lab") {
        session.lab_dir = "/nonexistent";  // never a lab that happens to run here
    }
    Outcome outcome;
    outcome.code = run(arguments, session);
    outcome.out = out.text();
    outcome.err = err.text();
    return outcome;
}

// Answers one request over a Unix socket with a ready text, and keeps what was asked.
class OneAnswer {
public:
    OneAnswer(const std::string& path, std::string answer) : answer_(std::move(answer)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(::listen(listener_, 4), 0);
        thread_ = std::thread([this] { serve(); });
    }
    ~OneAnswer() {
        thread_.join();
        ::close(listener_);
    }
    std::string request() {
        thread_.join();
        thread_ = std::thread([] {});
        return request_;
    }

private:
    void serve() {
        int fd = ::accept(listener_, nullptr, nullptr);
        char buffer[4096];
        while (request_.find("\r\n\r\n") == std::string::npos) {
            ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
            if (got <= 0) {
                break;
            }
            request_.append(buffer, static_cast<std::size_t>(got));
        }
        (void)::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
        ::shutdown(fd, SHUT_WR);
        // The body may come in a segment of its own.
        for (ssize_t got = 1; got > 0;) {
            got = ::recv(fd, buffer, sizeof buffer, 0);
            request_.append(buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        }
        ::close(fd);
    }
    std::string answer_;
    std::string request_;
    int listener_ = -1;
    std::thread thread_;
};

std::string http(int status, const std::string& body) {
    return "HTTP/1.1 " + std::to_string(status) +
           " x\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST(Arguments, that_are_wrong_end_with_64_and_one_line) {
    const std::vector<std::vector<std::string>> cases = {
        {},
        {"nonsense"},
        {"apply"},
        {"apply", "-f"},
        {"get"},
        {"get", "vs", "a", "b"},
        {"get", "vs", "-o", "xml"},
        {"config", "nonsense"},
        {"delete"},
        {"delete", "vs"},
        {"delete", "vs", "x", "-f", "y"},
        {"analyze", "--failure-threshold", "never"},
        {"lab"},
        {"lab", "up", "--nodes", "3"},
        {"lab", "scale", "pod/x", "--replicas", "1"},
        {"lab", "label", "namespace", "default"},
        {"lab", "mesh", "explode"},
    };
    for (const auto& arguments : cases) {
        std::string shown;
        for (const auto& one : arguments) {
            shown += one + " ";
        }
        Outcome outcome = run_command(arguments);
        EXPECT_EQ(outcome.code, exit_code::usage) << shown << outcome.err;
        EXPECT_TRUE(outcome.out.empty()) << shown;
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    }
}

TEST(Arguments, ask_for_help_on_standard_output) {
    Outcome outcome = run_command({"--help"});
    EXPECT_EQ(outcome.code, exit_code::ok);
    EXPECT_NE(outcome.out.find("explain"), std::string::npos);
    EXPECT_TRUE(outcome.err.empty());
}

TEST(Arguments, may_name_global_options_after_the_command) {
    ScratchDirectory scratch;
    OneAnswer daemon(scratch.path() + "/s", http(200, R"({"objects":[]})"));
    Outcome outcome = run_command(
        {"get", "vs", "reviews", "-n", "shop", "-o", "json", "--socket", scratch.path() + "/s"});
    EXPECT_EQ(outcome.code, exit_code::failed);
    EXPECT_NE(outcome.err.find("No vs/reviews found in namespace shop."), std::string::npos);
    EXPECT_TRUE(daemon.request().starts_with(
        "GET /objects?kind=vs&namespace=shop&name=reviews HTTP/1.1\r\n"));
}

TEST(Session, says_what_to_do_when_nobody_serves) {
    Outcome outcome = run_command({"status", "--socket", "/nonexistent/orlopd.sock"});
    EXPECT_EQ(outcome.code, exit_code::failed);
    EXPECT_NE(outcome.err.find("not running"), std::string::npos);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(Session, tells_a_dead_socket_and_a_broken_answer_apart) {
    ScratchDirectory scratch;
    std::string path = scratch.path() + "/s";
    {
        OneAnswer daemon(path, "HTT");
        auto answer = ask(path, "GET", "/status");
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().kind, ErrorKind::closed);
    }
    auto answer = ask(path, "GET", "/status");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::refused);
    EXPECT_NE(answer.error().context.find("start it again"), std::string::npos);
}

TEST(Session, repeats_the_daemons_own_words) {
    ScratchDirectory scratch;
    std::string path = scratch.path() + "/s";
    OneAnswer daemon(path, http(404, R"({"error":"no request with id 'x'"})"));
    Outcome outcome = run_command({"explain", "x", "--socket", path});
    EXPECT_EQ(outcome.code, exit_code::failed);
    EXPECT_EQ(outcome.err, "orlopctl: no request with id 'x'\n");
}

TEST(ApplyCommand, prints_as_kubectl_does_and_ends_with_65_when_refused) {
    ScratchDirectory scratch;
    std::string file = scratch.write("f.yaml", "kind: X\n");
    {
        OneAnswer daemon(scratch.path() + "/a", http(200, R"({"results":[
            {"object":"virtualservice/pricing","action":"created"}],
            "warnings":[{"text":"f.yaml:3: warning: conflict [IST0109]"}],"errors":[]})"));
        Outcome outcome = run_command({"apply", "-f", file, "--socket", scratch.path() + "/a"});
        EXPECT_EQ(outcome.code, exit_code::ok);
        EXPECT_EQ(outcome.out, "virtualservice/pricing created\n");
        EXPECT_EQ(outcome.err, "Warning: f.yaml:3: warning: conflict [IST0109]\n");
        EXPECT_NE(daemon.request().find("kind: X"), std::string::npos);
    }
    OneAnswer daemon(scratch.path() + "/b", http(422, R"({"results":[],"warnings":[],
        "errors":[{"text":"f.yaml:1: error: no name"}]})"));
    Outcome outcome = run_command({"apply", "-f", file, "--socket", scratch.path() + "/b"});
    EXPECT_EQ(outcome.code, exit_code::bad_data);
    EXPECT_TRUE(outcome.out.empty());
    EXPECT_NE(outcome.err.find("f.yaml:1: error: no name"), std::string::npos);
}

TEST(ApplyCommand, names_a_file_that_is_not_there) {
    Outcome outcome = run_command({"apply", "-f", "/nonexistent.yaml", "--socket", "/nonexistent"});
    EXPECT_EQ(outcome.code, exit_code::failed);
    EXPECT_NE(outcome.err.find("/nonexistent.yaml"), std::string::npos);
}

TEST(AnalyzeCommand, ends_with_79_from_the_threshold_on) {
    ScratchDirectory scratch;
    std::string clean =
        scratch.write("clean.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    std::string wrong = scratch.write("wrong.yaml",
                                      "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                                      "metadata: {name: v}\nspec:\n  hosts: [nobody]\n  http:\n"
                                      "  - route:\n    - destination: {host: nobody}\n");
    EXPECT_EQ(run_command({"analyze", clean}).code, exit_code::ok);
    Outcome outcome = run_command({"analyze", wrong});
    EXPECT_EQ(outcome.code, exit_code::findings);
    EXPECT_NE(outcome.out.find("IST0101"), std::string::npos) << outcome.out;
    Outcome json = run_command({"analyze", wrong, "-o", "json"});
    EXPECT_TRUE(parse_json(json.out)) << json.out;
}

TEST(Documents, are_split_by_whom_they_concern_and_keep_their_lines) {
    std::string text = "# lead\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                       "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                       "---\napiVersion: apps/v1\nkind: Deployment\n---\n# nothing\n";
    SplitText parts = split_documents(text);
    auto line_of = [](const std::string& all, const std::string& part) {
        return std::count(all.begin(), all.begin() + static_cast<long>(all.find(part)), '\n');
    };
    EXPECT_EQ(parts.lab.find("VirtualService"), std::string::npos);
    EXPECT_EQ(parts.mesh.find("Deployment"), std::string::npos);
    EXPECT_EQ(line_of(parts.mesh, "kind: VirtualService"), 6);
    EXPECT_EQ(line_of(parts.lab, "kind: Deployment"), 9);
    EXPECT_EQ(line_of(parts.lab, "kind: Service"), 2);
}

TEST(Documents, of_one_kind_leave_nothing_to_the_other) {
    EXPECT_TRUE(split_documents("kind: Service\n").mesh.empty());
    EXPECT_TRUE(split_documents("kind: VirtualService\n").lab.empty());
    EXPECT_TRUE(split_documents("").mesh.empty());
    EXPECT_FALSE(split_documents("{broken").mesh.empty());
}

TEST(Documents, in_a_list_go_to_the_lab_when_it_runs_one) {
    EXPECT_FALSE(split_documents("kind: List\nitems:\n- kind: Pod\n").lab.empty());
    EXPECT_FALSE(split_documents("kind: List\nitems:\n- kind: Gateway\n").mesh.empty());
}

TEST(Table, aligns_columns_and_lets_no_escape_through) {
    Table table({"NAME", "STATE"});
    table.add({"a√", "x"});
    table.add({"long-name", ""});
    table.add({"evil\x1b[2J", "y"});
    EXPECT_EQ(table.render(),
              "NAME        STATE\n"
              "a√          x\n"
              "long-name\n"
              "evil?[2J    y\n");
}

TEST(Table, tells_ages_as_kubectl_does) {
    constexpr std::int64_t second = 1'000'000'000;
    EXPECT_EQ(age_of(0, 5 * second), "5s");
    EXPECT_EQ(age_of(0, 180 * second), "3m");
    EXPECT_EQ(age_of(0, 3 * 3600 * second), "3h");
    EXPECT_EQ(age_of(0, 4 * 86400 * second), "4d");
    EXPECT_EQ(age_of(10 * second, 0), "0s");
}

TEST(Printing, makes_yaml_of_what_the_daemon_says) {
    auto value = parse_json(R"({"a":[1,true,"yes"],"b":{"c":null}})");
    ASSERT_TRUE(value);
    std::string yaml = yaml_text(*value);
    EXPECT_NE(yaml.find("\"yes\""), std::string::npos) << yaml;
    EXPECT_FALSE(parse_json("<html>"));
}

TEST(Words, name_an_object_in_both_ways) {
    EXPECT_EQ(split_object_words({"vs", "a"})->name, "a");
    EXPECT_EQ(split_object_words({"vs/a"})->kind, "vs");
    EXPECT_EQ(split_object_words({"vs"})->name, "");
    EXPECT_FALSE(split_object_words({"a", "b", "c"}));
}

TEST(Targets, are_written_so_that_no_name_leaves_its_parameter) {
    EXPECT_EQ(percent_encode("a b&c=/..%"), "a%20b%26c%3D%2F..%25");
}

}  // namespace
}  // namespace orlop::app::cli
