#include <yaml-cpp/yaml.h>
#include <nghttp2/nghttp2.h>
#include <bpf/libbpf.h>
#include <CLI/CLI.hpp>
#include <re2/re2.h>
