#!/usr/bin/env bash
# Measures orlopd beside direct traffic and sidecar pairs; see bench/README.md.
#
#   sudo bench/run.sh quick|full|scale|soak|smoke|profile|compare|micro [--accept-noise]
#
# Installs what it needs, builds, makes namespaces named orlop-bench-*, removes them at the end.
# BENCH_BIN (folder of bench-load) and ORLOPD (a daemon) skip the build of each.
set -euo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=${1:-}
case $suite in
quick | full | scale | soak | smoke | profile | compare | micro) shift ;;
*)
    suites="quick|full|scale|soak|smoke|profile|compare|micro"
    echo "usage: bench/run.sh $suites [--accept-noise]" >&2
    exit 2
    ;;
esac
if [ "$suite" = micro ]; then
    cd "$root"
    cmake --preset bench >/dev/null
    ninja -C build/bench bench-micro
    for program in build/bench/bench/bench-micro-*; do
        "$program" "$@"
    done
    exit
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "bench/run.sh: needs root for network namespaces and BPF; use sudo" >&2
    exit 1
fi
"$root/deploy/install-packages.sh" --bench
cd "$root"

if [ -z "${BENCH_BIN:-}" ]; then
    cmake --preset bench >/dev/null
    ninja -C build/bench bench-programs
    BENCH_BIN=$root/build/bench/bench
fi
# A tree whose daemon does not build yet still measures the opponents: the row says "no binary".
if [ -z "${ORLOPD:-}" ]; then
    if cmake --preset release >/dev/null &&
        ninja -C build/release -t query orlopd >/dev/null 2>&1; then
        ninja -C build/release orlopd orlopctl
    else
        echo "bench/run.sh: no target orlopd; its rows will say 'no binary'" >&2
    fi
fi
exec python3 bench/harness/main.py "$suite" --binaries "$BENCH_BIN" "$@"
