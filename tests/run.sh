#!/usr/bin/env bash
# Builds and runs every test on a fresh Debian 12 machine; does all of its own set-up.
#
#   sudo tests/run.sh                    # everything
#   sudo tests/run.sh --only STAGE ...   # unit bpf netns tidy asan tsan fuzz bench
#
# FUZZ_SECONDS (default 30) is the time of each fuzz target. Logs stay in build/test-logs. The very
# last line is `N passed, N failed`; the exit code is 0 only when nothing failed.
set -uo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/test-logs
fuzz_seconds=${FUZZ_SECONDS:-30}
jobs=$(nproc)
export HOME=${HOME:-/root} GTEST_COLOR=no CTEST_OUTPUT_ON_FAILURE=1
all_stages=(unit bpf netns tidy asan tsan fuzz bench)
passed=0
failed=0
skipped=0
summary=()

usage() {
    echo "usage: tests/run.sh [--only STAGE]...   stages: ${all_stages[*]}" >&2
    exit 2
}

# Runs one fuzz target; xargs calls this script back with it, two at a time.
fuzz_one() {
    local target=$1 name scratch corpus log
    name=$(basename "$target" _fuzz)
    corpus=$root/tests/fuzz/corpus/$name
    log=$logs/fuzz-$name.log
    scratch=$(mktemp -d)
    mkdir -p "$corpus"
    "$target" -max_total_time="$fuzz_seconds" -timeout=25 -rss_limit_mb=3072 -print_final_stats=1 \
        -artifact_prefix="$logs/fuzz-$name-" "$scratch" "$corpus" >"$log" 2>&1
    local code=$?
    rm -rf "$scratch"
    if [ $code -eq 0 ]; then
        echo "ok   fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
    else
        echo "FAIL fuzz $name: exit $code; input beside $log"
        tail -n 40 "$log" | sed 's/^/    /'
    fi
    return 0
}

# Adds a stage's result: name, passed, failed, seconds.
record() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    summary+=("$(printf '%-22s %5d passed %3d failed %6d s' "$1" "$2" "$3" "$4")")
}

# Builds a preset (or only the given targets); a broken build is one failure with its errors.
build() {
    local preset=$1 begin=$SECONDS log=$logs/build-$1.log
    shift
    echo "== build $preset"
    if (cd "$root" && cmake --preset "$preset" && build_targets "$preset" "$@") >"$log" 2>&1; then
        echo "   built in $((SECONDS - begin)) s"
        return 0
    fi
    grep -E 'error|Error|FAILED|undefined' "$log" | head -n 40
    tail -n 5 "$log"
    echo "FAIL build $preset: see $log"
    record "build $preset" 0 1 $((SECONDS - begin))
    return 1
}

build_targets() {
    local preset=$1 pattern=${2:-}
    if [ -z "$pattern" ]; then
        ninja -C "build/$preset" -j "$jobs"
        return
    fi
    local targets
    mapfile -t targets < <(ninja -C "build/$preset" -t targets all |
        sed -n 's/^\([A-Za-z0-9_]*\): phony$/\1/p' | grep -E "$pattern" | sort -u)
    if [ "${#targets[@]}" -eq 0 ]; then
        echo "error: no target of $preset matches $pattern"
        return 1
    fi
    ninja -C "build/$preset" -j "$jobs" "${targets[@]}"
}

# Runs the ctest cases with a label and adds them up from ctest's own report.
run_ctest() {
    local title=$1 preset=$2 label=$3 parallel=$4 begin=$SECONDS
    local report=$logs/ctest-$title.xml log=$logs/ctest-$title.log
    rm -f "$report"
    echo "== $title (ctest -L $label)"
    ctest --test-dir "$root/build/$preset" -L "$label" -j "$parallel" --timeout 300 \
        --output-junit "$report" >"$log" 2>&1
    local counts
    counts=$(python3 "$root/tests/count_junit.py" "$report") || counts="0 1 0"
    local ok bad unrun
    read -r ok bad unrun <<<"$counts"
    if [ $((ok + bad + unrun)) -eq 0 ]; then
        echo "   no case carries the label '$label'"
    fi
    if [ "$bad" -gt 0 ]; then
        sed -nE '/\*\*\*(Failed|Timeout|Exception|Not Run)/,/^ *[0-9]+\/[0-9]+ Test/p' "$log" |
            tail -n 200
    fi
    if [ "$unrun" -gt 0 ]; then
        echo "   SKIPPED, so nothing was proved by:"
        grep -E '\*\*\*Skipped' "$log" | sed 's/^/   /'
        skipped=$((skipped + unrun))
    fi
    record "$title" "$ok" "$bad" $((SECONDS - begin))
}

stage_unit() { build dev && run_ctest unit dev '^(unit|sim)$' "$jobs"; }
stage_bpf() { build dev && run_ctest bpf dev '^bpf$' 1; }
stage_netns() { build dev && run_ctest netns dev '^netns$' 1; }

stage_tidy() {
    build dev || return 0
    local begin=$SECONDS mode ok bad title
    for mode in "" --self-test; do
        title=tidy${mode#-}
        echo "== $title"
        # shellcheck disable=SC2086
        python3 "$root/tests/tidy/run.py" $mode >"$logs/$title.log" 2>&1
        grep -v '^ok ' "$logs/$title.log" || true
        read -r ok bad < <(sed -n 's/^tidy.*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' \
            "$logs/$title.log")
        record "$title" "${ok:-0}" "${bad:-1}" $((SECONDS - begin))
        begin=$SECONDS
    done
}

# The sanitizers run what needs no root: unit and sim.
stage_asan() {
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    build asan "$sanitized" && run_ctest asan asan '^(unit|sim)$' "$jobs"
}
stage_tsan() {
    export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
    build tsan "$sanitized" && run_ctest tsan tsan '^(unit|sim)$' "$jobs"
}
sanitized='^orlop_test_(base|model|codec|runtime|mtls|telemetry|decide|net|control|datapath'
sanitized+='|proxy|admin|lab|app|bench|sim)$'

stage_fuzz() {
    build fuzz '_fuzz$' || return 0
    local begin=$SECONDS log=$logs/fuzz.log
    echo "== fuzz, $fuzz_seconds s each, $jobs at a time"
    find "$root/build/fuzz/fuzz" -maxdepth 1 -type f -perm -u+x -name '*_fuzz' -print0 | sort -z |
        FUZZ_SECONDS=$fuzz_seconds xargs -0 -r -n 1 -P "$jobs" "$0" --fuzz-one | tee "$log"
    record fuzz "$(grep -c '^ok ' "$log")" "$(grep -c '^FAIL ' "$log")" $((SECONDS - begin))
}

# `bench/run.sh quick` proves that the harness works: every contender starts, every answer is right.
# No figure decides green or red, so the daemon is the one that the other stages have built.
stage_bench() {
    build dev || return 0
    local begin=$SECONDS log=$logs/bench.log
    echo "== bench (quick, noise accepted)"
    export ORLOPD=$root/build/dev/bin/orlopd
    if "$root/bench/run.sh" quick --accept-noise >"$log" 2>&1; then
        record bench 1 0 $((SECONDS - begin))
    else
        tail -n 30 "$log"
        record bench 0 1 $((SECONDS - begin))
    fi
}

main() {
    local stages=()
    while [ $# -gt 0 ]; do
        case $1 in
        --only)
            case " ${all_stages[*]} " in
            *" ${2:-none} "*) stages+=("$2") ;;
            *) usage ;;
            esac
            shift 2
            ;;
        --fuzz-one)
            fuzz_one "$2"
            exit
            ;;
        *) usage ;;
        esac
    done
    [ "${#stages[@]}" -gt 0 ] || stages=("${all_stages[@]}")
    mkdir -p "$logs"
    if [ "$(id -u)" -ne 0 ]; then
        echo "tests/run.sh: not root: bpf, netns and bench will not run; use sudo" >&2
    fi
    local install=("$root/deploy/install-packages.sh")
    case " ${stages[*]} " in *" bench "*) install+=(--bench) ;; esac
    if ! "${install[@]}"; then
        echo "0 passed, 1 failed"
        exit 1
    fi
    local stage
    for stage in "${stages[@]}"; do
        "stage_$stage"
    done
    echo "== summary ($((SECONDS / 60)) min $((SECONDS % 60)) s)"
    printf '%s\n' "${summary[@]}"
    if [ "$skipped" -gt 0 ]; then
        echo "skipped: $skipped"
    fi
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

main "$@"
