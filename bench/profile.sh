#!/usr/bin/env bash
# Where orlopd's time goes under a load: flame graph, and per request system calls, switches,
# allocations, bytes copied, bytes through the kernel.
#
#   sudo bench/profile.sh [same|two] [LOAD]     LOAD: saturated-64 (default), 1000/s, bulk-8MB, ...
#
# Writes bench/results/tmp/profile-*/: flame.svg, functions.txt, counters.json. ORLOP_PROFILE_KEEP=1
# keeps perf.data beside them.
set -euo pipefail
exec env ORLOP_PROFILE_LAYOUT="${1:-same}" ORLOP_PROFILE_LOAD="${2:-saturated-64}" \
    "$(dirname "${BASH_SOURCE[0]}")/run.sh" profile --accept-noise
