#!/usr/bin/env bash
# Makes cmake/orlopd.profdata again: the profile that release builds are optimised with. Runs an
# instrumented orlopd under the loads of the benchmark; about a minute after the build. Wanted when
# hot code has changed much: what has changed since the last time is built without a profile.
set -euo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
if [ "$(id -u)" -ne 0 ]; then
    echo "bench/train.sh: needs root for network namespaces and BPF; use sudo" >&2
    exit 1
fi
deploy/install-packages.sh --bench
cmake --preset train >/dev/null
ninja -C build/train orlopd
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
binary=$root/build/train/bin/orlopd
loads=saturated-64,1000/s,connection-per-request,http1-100-connections,http2-100-streams,bulk-8MB
LLVM_PROFILE_FILE=$raw/%p.profraw ORLOPD=$binary ORLOP_COMPARE=$binary:$binary \
    ORLOP_COMPARE_LOADS="same:${loads//,/,same:},two:${loads//,/,two:}" ORLOP_COMPARE_ROUNDS=1 \
    bench/run.sh compare --accept-noise
# Only what ran: the file stays small.
llvm-profdata-19 merge --sparse -o cmake/orlopd.profdata "$raw"/*.profraw
ls -l cmake/orlopd.profdata
