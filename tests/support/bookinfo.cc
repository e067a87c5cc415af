#include "tests/support/bookinfo.h"

#include "tests/support/text.h"

#include <fmt/core.h>

#include <fstream>
#include <sstream>

namespace orlop::support {

namespace {

Page read_page(const std::string& text) {
    Page page;
    page.text = text;
    page.status =
        text.starts_with("HTTP/1.1 ") ? static_cast<int>(whole_number_after(text, " ")) : 0;
    page.reviews_status = whole_number_after(text, "X-Reviews-Status: ");
    page.reviews_millis = whole_number_after(text, "X-Reviews-Millis: ");
    page.reviews_tries = whole_number_after(text, "X-Reviews-Tries: ");
    return page;
}

}  // namespace

std::string Bookinfo::lab_file(const std::string& name) {
    std::ifstream file(std::string(ORLOP_SOURCE_DIR) + "/deploy/lab/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

void Bookinfo::start_bookinfo(const Wish& wish) {
    ns_ = wish.ns;
    start({.images = wish.images});
    if (ns_ != "default") {
        apply("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns_ + "}\n");
    }
    apply("client.yaml", client_yaml, ns_);
    apply("bookinfo.yaml", lab_file("bookinfo.yaml"), ns_);
    enrol(ns_);
}

// What the login page left in the browser: the cookie that the product page set.
std::vector<std::string> Bookinfo::as_user(const std::string& user) {
    if (user.empty()) {
        return {};
    }
    return {"-H", "Cookie: user=" + user};
}

Page Bookinfo::browse(const std::string& user) {
    return browse_at_once(user, 1).front();
}

std::vector<Page> Bookinfo::browse_at_once(const std::string& user, int count) {
    const std::string command =
        fmt::format("dir=$(mktemp -d); for i in $(seq {0}); do \"$@\" > $dir/$i & done; wait; "
                    "cat $(seq -f $dir/%g {0}); rm -r $dir",
                    count);
    std::vector<std::string> argv = {"bash", "-c", command, "pages", "http-get", "-t", "40s"};
    const auto identity = as_user(user);
    argv.insert(argv.end(), identity.begin(), identity.end());
    argv.push_back(page_);
    const std::string all = run_in(in("client"), argv);
    std::vector<Page> pages;
    constexpr const char* head = "HTTP/1.1 ";
    for (std::size_t at = all.find(head); at != std::string::npos;) {
        const std::size_t next = all.find(head, at + 1);
        pages.push_back(read_page(all.substr(at, next - at)));
        at = next;
    }
    EXPECT_EQ(pages.size(), static_cast<std::size_t>(count)) << all;
    pages.resize(static_cast<std::size_t>(count));
    return pages;
}

Tally Bookinfo::browse_often(long count, const std::string& user) {
    std::vector<std::string> options = {"-n", std::to_string(count), "-c", "3", "-t", "40s"};
    const auto identity = as_user(user);
    options.insert(options.end(), identity.begin(), identity.end());
    return load(in("client"), page_, options);
}

Tally Bookinfo::call_reviews(const std::string& path, long count) {
    return load(in("client"), "http://reviews:9080" + path, {"-n", std::to_string(count), "-k"});
}

Served Bookinfo::served(const std::string& part) {
    return {lines_in_log(in("reviews-v1"), part),
            lines_in_log(in("reviews-v2"), part),
            lines_in_log(in("reviews-v3"), part)};
}

}  // namespace orlop::support
