// WireTap: tcpdump on an interface of a lab node, from start to stop.
//
// Owned by the test; the destructor ends tcpdump. Everything that crossed the wire is in a file, so
// that a test can say what did not.
//
//     WireTap tap(node.netns, "uplink", file);
//     ... requests ...
//     EXPECT_EQ(tap.stop().find(marker), std::string::npos);
#pragma once

#include <sys/types.h>

#include <string>

namespace orlop::support {

class WireTap {
public:
    // `netns`: path; `file`: where to keep the capture.
    WireTap(const std::string& netns, const std::string& interface, const std::string& file);
    ~WireTap();
    WireTap(const WireTap&) = delete;
    WireTap& operator=(const WireTap&) = delete;

    bool listening() const { return pid_ > 0; }
    const std::string& stop();  // the raw capture
    // Lines of `tcpdump -r` that match a filter; call after stop().
    long packets(const std::string& filter) const;

private:
    std::string file_;
    pid_t pid_ = 0;
    std::string bytes_;
};

}  // namespace orlop::support
