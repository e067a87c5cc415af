// Bookinfo: MeshLab with the application of tutorials 003 and 004 and a browser in front of it.
//
// start_bookinfo() enrols its pods and a `client` beside them in one namespace; browse() loads the
// product page as somebody who logged in, or as nobody. What the page's own calls did is in its
// X-Reviews fields; which version served is in the logs of the versions.
#pragma once

#include "tests/support/mesh_lab.h"

#include <string>
#include <vector>

namespace orlop::support {

// One product page as a browser got it.
struct Page {
    int status = 0;
    long reviews_status = 0;  // 0: no answer within the application's own limit
    long reviews_millis = 0;
    long reviews_tries = 0;  // the application calls again once
    std::string text;

    bool shows(const std::string& part) const { return text.find(part) != std::string::npos; }
    bool without_reviews() const {
        return shows("Sorry, product reviews are currently unavailable for this book.");
    }
    bool without_ratings() const { return shows("Ratings service is currently unavailable"); }
    bool with_stars(const std::string& color) const { return shows("\"color\": \"" + color); }
};

struct Served {
    long v1 = 0;
    long v2 = 0;
    long v3 = 0;
    long sum() const { return v1 + v2 + v3; }
    friend Served operator-(const Served& now, const Served& before) {
        return {now.v1 - before.v1, now.v2 - before.v2, now.v3 - before.v3};
    }
};

class Bookinfo : public MeshLab {
protected:
    struct Wish {
        std::string ns = "default";
        std::vector<std::string> images;  // in place of those of deploy/lab/images.yaml
    };
    void start_bookinfo(const Wish& wish);
    // `user` empty: nobody logged in.
    Page browse(const std::string& user = "");
    // `count` pages at the same time, for pages that take long.
    std::vector<Page> browse_at_once(const std::string& user, int count);
    // `count` pages by three browsers; only counted.
    Tally browse_often(long count, const std::string& user = "");
    // Calls of reviews by the client itself: what the product page does not pass on.
    Tally call_reviews(const std::string& path, long count);

    // Lines of each version's log that hold `part`; take the difference of two.
    Served served(const std::string& part = "GET /reviews/0 ");
    // A file of deploy/lab.
    static std::string lab_file(const std::string& name);
    std::string in(const std::string& pod) const { return ns_ + "/" + pod; }

    std::string ns_ = "default";

    std::string page_ = "http://productpage:9080/productpage";

private:
    std::vector<std::string> as_user(const std::string& user);
};

}  // namespace orlop::support
