#!/usr/bin/env bash
# Installs the Debian 12 packages that orlop needs to build, test and run. Idempotent and
# non-interactive; touches the network only when a package is missing.
#
#   sudo deploy/install-packages.sh            # build, tests, lab
#   sudo deploy/install-packages.sh --bench    # and the opponents and tools of bench/
set -euo pipefail

build=(clang-19 lld-19 llvm-19 clang-tools-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev
    libfuzzer-19-dev pkg-config cmake ninja-build ccache git)
libraries=(libbpf-dev bpftool liburing-dev libyaml-cpp-dev libcli11-dev libnghttp2-dev libre2-dev
    libssl-dev libfmt-dev libgtest-dev libgmock-dev nlohmann-json3-dev libxxhash-dev libc-ares-dev)
tools=(openssl iproute2 nftables dnsmasq-base curl bc gawk procps util-linux tcpdump
    python3 python3-h2 python3-grpcio nghttp2-client nodejs netcat-openbsd ca-certificates)
bench=(haproxy nginx-light nghttp2-proxy nghttp2-client wrk libbenchmark-dev strace)
optional=(linux-perf)
# Their packages start a service at once; the benchmark runs its own instances.
autostarting=(haproxy nginx nghttpx)

policy=/usr/sbin/policy-rc.d
policy_is_ours=no

die() {
    echo "install-packages: $*" >&2
    exit 1
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

forbid_service_start() {
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        policy_is_ours=yes
    fi
}

allow_service_start() {
    if [ "$policy_is_ours" = yes ]; then
        rm -f "$policy"
    fi
}

# A unit that came with a package of this run must not come up at the next boot either.
disable_new_units() {
    command -v systemctl >/dev/null || return 0
    local unit
    for unit in "${autostarting[@]}"; do
        if [ "${unit_was_known[$unit]}" = no ]; then
            systemctl disable --now "$unit.service" >/dev/null 2>&1 || true
        fi
    done
}

main() {
    local want=("${build[@]}" "${libraries[@]}" "${tools[@]}") maybe=() missing=() package unit
    case "${1:-}" in
    "") ;;
    --bench)
        want+=("${bench[@]}")
        maybe=("${optional[@]}")
        ;;
    *) die "unknown argument '$1'; usage: install-packages.sh [--bench]" ;;
    esac

    for package in "${want[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        echo "install-packages: all ${#want[@]} packages are present"
        return 0
    fi

    [ "$(id -u)" -eq 0 ] || die "must run as root to install: ${missing[*]}; use sudo"
    # shellcheck disable=SC1091
    . /etc/os-release
    [ "${ID:-} ${VERSION_ID:-}" = "debian 12" ] ||
        die "needs Debian 12, this is ${PRETTY_NAME:-unknown}; install by hand: ${missing[*]}"

    declare -gA unit_was_known=()
    for unit in "${autostarting[@]}"; do
        unit_was_known[$unit]=no
        if [ -e "/lib/systemd/system/$unit.service" ]; then
            unit_was_known[$unit]=yes
        fi
    done
    trap allow_service_start EXIT
    forbid_service_start
    export DEBIAN_FRONTEND=noninteractive
    local options=(-y -q --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    apt-get update -q || die "apt-get update failed; check network and /etc/apt/sources.list"
    apt-get install "${options[@]}" "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}"
    for package in "${maybe[@]}"; do
        installed "$package" || apt-get install "${options[@]}" "$package" ||
            echo "install-packages: optional $package is not available, going on without it" >&2
    done
    disable_new_units
    echo "install-packages: installed ${missing[*]}"
}

main "$@"
