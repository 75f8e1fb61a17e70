# shellcheck shell=bash
# The one place that lists Debian packages. Sourced by the tools; needs bash.
#
#     packages_need GROUP...      installs what is missing of the groups; fails with a plain sentence if it cannot
#
# "a|b" means: any of these will do (names differ between Debian releases); the first known one is installed.

packages_of() {
    case "$1" in
    build) echo meson ninja-build gcc g++ pkg-config python3 liburing-dev liburcu-dev libjemalloc-dev \
                libhttp-parser-dev libnghttp2-dev libcurl4-openssl-dev libssl-dev valgrind ;; # valgrind for its header
    test) echo libcriterion-dev openssl curl nginx-light redis-tools nghttp2-client wrk ;;
    clang) echo clang "libclang-rt-dev|libclang-rt-14-dev" ;;
    abi) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross "qemu-user|qemu-user-static" gdb lld ;;
    # Debian's own kernel, which is fetched but not installed, in a virtual machine.
    kernel) echo qemu-system-x86 busybox-static cpio kmod ;;
    lint) echo clang-format clang-tidy ;;
    load) echo wrk redis-tools nghttp2-client openssl ;;
    peers) echo gcc g++ pkg-config liburing-dev libuv1-dev libboost-dev libtbb-dev golang-go rustc cargo \
                librust-tokio-dev librust-async-channel-dev librust-hyper-dev libjemalloc2 nginx-light redis-server curl ;;
    *) echo "packages: unknown group: $1" >&2; return 2 ;;
    esac
}

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

package_is_known() {
    apt-cache show "$1" >/dev/null 2>&1
}

# Prints what is missing of the groups, one entry a line, alternatives unresolved.
packages_missing() {
    local group entry name found names
    for group in "$@"; do
        names=$(packages_of "$group") || return
        for entry in $names; do
            found=no
            for name in ${entry//|/ }; do
                if package_is_installed "$name"; then found=yes; fi
            done
            if [ "$found" = no ]; then echo "$entry"; fi
        done
    done
}

# Prints a known name for each entry; fails if there is none, as on a machine whose lists were never fetched.
packages_resolve() {
    local entry name chosen
    for entry in "$@"; do
        chosen=
        for name in ${entry//|/ }; do
            if [ -z "$chosen" ] && package_is_known "$name"; then chosen=$name; fi
        done
        [ -n "$chosen" ] || return 1
        echo "$chosen"
    done
}

packages_need() {
    local missing names as_root=()
    if ! command -v dpkg-query >/dev/null; then
        echo "packages: not a Debian system; needed are, by their Debian names:" >&2
        local group
        for group in "$@"; do packages_of "$group" >&2; done
        return 0 # whatever is really missing will say so itself
    fi
    missing=$(packages_missing "$@") || return
    [ -n "$missing" ] || return 0
    echo "packages: missing: ${missing//$'\n'/ }" >&2
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "packages: cannot install them: not root, and there is no sudo" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    # One word per package from here on.
    # shellcheck disable=SC2086
    if names=$(packages_resolve $missing) && packages_install $names; then return 0; fi
    # The lists are missing or older than the mirror.
    # shellcheck disable=SC2086
    if "${as_root[@]}" apt-get update -q >&2 &&
        names=$(packages_resolve $missing) && packages_install $names; then return 0; fi
    echo "packages: could not install: $(packages_missing "$@" | tr '\n' ' ')" >&2
    return 1
}

# Uses as_root of packages_need.
packages_install() {
    # RUNLEVEL: a server that is installed (nginx) must not start.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -q -y --no-install-recommends "$@" >&2
}
