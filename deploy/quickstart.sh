#!/usr/bin/env bash
# The first look at orlop, on one machine and without a cluster: builds the release, turns the
# e-commerce application of the resilience tutorial into pods on two nodes, and walks through the
# whole tutorial with its own YAML, in its order, nothing deleted between: Gateway, timeouts,
# retries, circuit breaker, outlier detection, fault injection. Ends with a table of what was
# promised beside what was seen.
#
#   sudo deploy/quickstart.sh            # build, walk through, clean up
#   sudo deploy/quickstart.sh --keep     # leave the lab up and say how to look around
#   sudo deploy/quickstart.sh --down     # remove every trace of a lab left up
#
# Exit code 0: every promise was observed. 1: one was not, or a step failed.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
yaml=$root/deploy/lab/tutorials
bin=${ORLOP_BIN:-$root/build/release/bin}
work=$(mktemp -d)
keep=no
rows=()
failures=0

ctl() { "$bin/orlopctl" "$@"; }
say() { printf '\n== %s\n' "$*" >&2; }
die() {
    echo "quickstart: $*" >&2
    exit 1
}

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    [ -z "${sniffer:-}" ] || kill "$sniffer" 2>/dev/null || true
    if [ "$keep" = no ] && [ -x "$bin/orlopctl" ]; then
        ctl lab down >/dev/null 2>&1 || echo "quickstart: lab down failed; try --down" >&2
    fi
    rm -rf "$work"
    exit "$code"
}

build() {
    [ -z "${ORLOP_BIN:-}" ] || return 0
    say "packages and build (the first time takes some minutes)"
    "$root/deploy/install-packages.sh"
    (cd "$root" && cmake --preset release >"$work/configure.log" 2>&1) ||
        { cat "$work/configure.log" >&2; die "cmake failed"; }
    cmake --build "$root/build/release" --target orlopd orlopctl lab-apps 1>&2
}

# --- steps and their verdicts ---

# tally CLIENT... -- COUNT CLIENTS URL: calls made by http-get; sets ok errors timeouts p50 p99 max
# (milliseconds) and statuses. The bounds below are chosen so that chance alone breaks one less than
# once in a million runs.
tally() {
    local from=() text line
    while [ "$1" != -- ]; do from+=("$1"); shift; done
    text=$(ctl lab exec "${from[@]}" -- http-get -n "$2" -c "$3" -t 8s "$4") || true
    read -r line <<<"$text"
    read -r _ _ _ ok _ errors _ timeouts _ _ _ p50 _ p99 _ max _ <<<"$line"
    [ -n "${max:-}" ] || die "the load printed nothing usable: $text"
    statuses=$text
}

# A visitor from outside every pod, through the tutorial's Gateway on node n1. Never more than three
# at a time where retries count: the default retry budget lets three run at once.
load() { tally --node n1 -- 60 "${1:-6}" "http://$gateway/"; }

# answered CODE: how many of the last tally's calls.
answered() {
    awk -v code="$1" '$1 == "status" && $2 == code { n = $3 } END { print n + 0 }' <<<"$statuses"
}

whole() { printf '%.0f' "$1"; }

# verdict STEP PROMISE kept|broken
verdict() {
    local mark=kept
    if [ "$3" != kept ]; then
        mark=BROKEN
        failures=$((failures + 1))
    fi
    rows+=("$1|${ok:--}|${errors:--}|${timeouts:--}|${p50:--}|${p99:--}|$2|$mark")
}

# judge CONDITION...: prints kept when every arithmetic condition holds.
judge() {
    local condition
    for condition in "$@"; do
        ((condition)) || { echo broken; return; }
    done
    echo kept
}

wait_redirected() {
    local want=$1 seen tries
    for tries in $(seq 1 200); do
        seen=$(grep -hc '^    - ' /run/orlop-lab/config/status-n*.yaml 2>/dev/null |
            awk '{ n += $1 } END { print n + 0 }') || true
        [ "$seen" -eq "$want" ] && return 0
        sleep 0.05
    done
    die "enrolment: $seen of $want pods are captured; see /run/orlop-lab/nodes/n1/orlopd.log"
}

start_application() {
    say "the application on two nodes: frontend and product on n1, pricing and inventory on n2"
    ctl lab up --nodes 2 --images "$root/deploy/lab/images.yaml"
    ctl apply -f "$root/deploy/lab/quickstart-mesh.yaml"
    ctl apply -f "$root/deploy/lab/quickstart-client.yaml"
    local name
    for name in frontend product pricing inventory gateway; do
        ctl apply -f "$yaml/002-$name.yaml"
    done
    ctl lab wait --timeout 30
    gateway=$(ctl lab ps -o json | python3 -c '
import json, sys
print(next(n["ip"] for n in json.load(sys.stdin)["nodes"] if n["name"] == "n1"))')
    for name in $(seq 1 200); do
        ctl lab exec --node n1 -- bash -c "exec 3<>/dev/tcp/$gateway/80" 2>/dev/null && return 0
        sleep 0.05
    done
    die "the Gateway does not listen on $gateway:80; see orlopctl status"
}

step_not_enrolled() {
    say "1. not enrolled: the application as it is, behind its Gateway"
    load
    verdict "not enrolled" "about 30 % errors, calls of 3 s" \
        "$(judge "errors >= 3 && errors <= 40" "$(whole "$max") >= 3000")"
}

step_enrolled() {
    say "2. enrolled by one label, no pod restarted: mutual TLS between the nodes"
    local before after
    before=$(ctl lab ps -o json | grep -c '"pid"')
    ctl lab label ns/default istio.io/dataplane-mode=orlop
    wait_redirected 5
    ip netns exec orlop-lab-n1 timeout 60 tcpdump -i uplink -U -s 0 -w "$work/wire.pcap" \
        2>/dev/null &
    sniffer=$!
    until [ -s "$work/wire.pcap" ]; do sleep 0.05; done
    load
    kill "$sniffer" && wait "$sniffer" 2>/dev/null || true
    sniffer=
    after=$(ctl lab ps -o json | grep -c '"pid"')
    local plain tls
    plain=$(grep -c -a -E 'HTTP/1\.1|GET / |Hello World' "$work/wire.pcap" || true)
    tls=$(tcpdump -r "$work/wire.pcap" -nn 'port 15008' 2>/dev/null | wc -l)
    echo "between the nodes: $tls packets of mutual TLS on 15008, $plain lines of HTTP" >&2
    verdict "enrolled" "same service, no byte of HTTP between nodes" \
        "$(judge "errors >= 3 && errors <= 40" "plain == 0" "tls > 50" "before == after")"
}

step_strict() {
    say "3. STRICT: a stranger is refused, the mesh is not"
    cat >"$work/strict.yaml" <<'YAML'
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: default
spec:
  mtls:
    mode: STRICT
YAML
    ctl apply -f "$work/strict.yaml"
    local address stranger=accepted
    address=$(ctl lab ps -o json | python3 -c '
import json, sys
print(next(s["clusterIP"] for s in json.load(sys.stdin)["services"] if s["name"] == "frontend"))')
    nsenter --net=/run/netns/orlop-lab-n1 curl -s -o /dev/null -m 5 "http://$address/" ||
        stranger=refused
    load
    echo "a plaintext caller outside the mesh: $stranger" >&2
    verdict "STRICT" "stranger refused, callers in the mesh served" \
        "$(judge "$([ "$stranger" = refused ] && echo 1 || echo 0)" "ok >= 24")"
}

step_timeouts() {
    say "4. timeouts: pricing 1 s, inventory 0.5 s"
    ctl apply -f "$yaml/002-timeout-config.yaml"
    load
    verdict "timeouts" "slow calls fail at 1 s; errors not fewer" \
        "$(judge "$(whole "$max") < 2000" "errors >= 17" "timeouts == 0")"
}

step_retries() {
    say "5. retries: 3 per call, 0.5 s each"
    ctl apply -f "$yaml/002-retry-config.yaml"
    load 3
    verdict "retries" "most failures healed (expected 97 % success)" \
        "$(judge "ok >= 48" "$(whole "$max") < 5000" "timeouts == 0")"
}

# pod_of DEPLOYMENT FIELD: of its first pod.
pod_of() {
    ctl lab ps -o json | python3 -c '
import json, sys
owner = "Deployment/" + sys.argv[1]
print(next(p[sys.argv[2]] for p in json.load(sys.stdin)["pods"] if p["owner"] == owner))' "$@"
}

# What the proxy said about the product pod, as kubectl logs POD -c istio-proxy would.
product_log() { ctl logs "default/$(pod_of product name)" 2>/dev/null; }

# The tutorial's job prints its own tally.
step_circuit_breaker() {
    say "6. circuit breaker: one connection, one waiting; 200 calls by 20 at a time"
    ctl apply -f "$yaml/002-circuit-breaker.yaml"
    ctl apply -f "$yaml/002-high-traffic-generator.yaml"
    ctl lab wait --timeout 90 job/high-traffic-generator >&2 || die "the job did not end"
    local text open overflow
    text=$(ctl lab logs high-traffic-generator)
    sed -n '/^Results:/,$p' <<<"$text" >&2
    job_count() { awk -v word="$1" '$0 ~ word { print $(NF - 1); exit }' <<<"$text"; }
    ok=$(job_count 'Successful:') errors=$(job_count 'Errors:') timeouts=$(job_count 'Timeouts:')
    open=$(job_count 'Circuit open:')
    p50='' p99=''
    overflow=$(product_log | grep -c ' 503 UO .*{overflow}' || true)
    echo "in product's log: $overflow calls answered 503 UO {overflow}" >&2
    local kept
    kept=$(judge "open >= 100" "ok >= 1" "errors == 0" "timeouts == 0" "overflow >= 1")
    errors=$open
    verdict "circuit breaker" "few get through, the others are refused at once, no timeout" "$kept"
}

step_outlier_detection() {
    say "7. outlier detection: three instances of inventory and one that fails 9 of 10 calls"
    ctl lab scale deployment/inventory --replicas 3
    ctl apply -f "$yaml/002-outlier-detection.yaml"
    ctl apply -f "$yaml/002-failing-instance-config.yaml"
    ctl lab wait --timeout 30
    wait_redirected 8
    local round ejected=0 line
    line="host $(pod_of inventory-failing ip):9090 .*was ejected by the outlier detector"
    for round in $(seq 1 40); do
        tally default/product -- 10 1 http://inventory/
        ejected=$(product_log | grep -c "$line" || true)
        [ "$ejected" -eq 0 ] || break
    done
    product_log | grep "$line" >&2 || true
    tally default/product -- 100 1 http://inventory/
    verdict "outlier detection" "the failing instance is out, the others serve" \
        "$(judge "ejected >= 1" "ok >= 85")"
}

step_faults() {
    say "8. fault injection: 5 % of pricing's calls aborted, 10 % of inventory's delayed by 2 s"
    ctl apply -f "$yaml/002-fault-injection.yaml"
    tally default/client -- 400 6 http://pricing/
    local aborted
    aborted=$(answered 500)
    verdict "abort 5 %" "$aborted of 400 calls of pricing aborted with 500" \
        "$(judge "aborted >= 3" "aborted <= 50")"
    tally default/client -- 150 10 http://inventory/
    verdict "delay 10 %" "some calls of inventory take 2 s" "$(judge "$(whole "$max") >= 2000")"
}

print_table() {
    printf '\n'
    {
        echo "STEP|SUCCESS|ERRORS|TIMEOUTS|P50 MS|P99 MS|PROMISE|OBSERVED"
        printf '%s\n' "${rows[@]}"
    } | column -t -s '|'
    printf '\n'
}

main() {
    case "${1:-}" in
    "") ;;
    --keep) keep=yes ;;
    --down)
        [ -x "$bin/orlopctl" ] || die "nothing was built in $bin"
        ctl lab down
        rm -rf "$work"
        exit 0
        ;;
    *) die "usage: quickstart.sh [--keep | --down]" ;;
    esac
    [ "$(id -u)" -eq 0 ] || die "needs root for namespaces and eBPF: sudo deploy/quickstart.sh"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    build
    start_application
    step_not_enrolled
    step_enrolled
    step_strict
    step_timeouts
    step_retries
    step_circuit_breaker
    step_outlier_detection
    step_faults
    print_table
    if [ "$keep" = yes ]; then
        cat <<TEXT
The lab is up. Look around:
  $bin/orlopctl lab ps
  $bin/orlopctl status
  $bin/orlopctl get virtualservice
  $bin/orlopctl lab exec default/client -- http-get http://frontend/
  $bin/orlopctl logs default/$(pod_of product name)        then: orlopctl explain REQUEST-ID
Remove it: sudo deploy/quickstart.sh --down
TEXT
    fi
    [ "$failures" -eq 0 ] || die "$failures promise(s) not kept"
    echo "every promise was observed"
}

main "$@"
