#!/usr/bin/env bash
# Runs a command under Debian's kernel in a virtual machine: the same files, tools and libraries, another kernel.
#
#     tools/lib/in_kernel.sh WRITABLE COMMAND [ARG...]
#
# The machine sees the root of this one, read-only, with a layer on top that is memory and gone at the end; what is written below
# the directory WRITABLE stays. The command runs there as root, with two processors, a loopback and no other network, in the present
# directory and with FILCH_* of the environment. The exit status is the command's, or 125 if the machine did not get as far as that.
#
# The kernel is fetched and unpacked, not installed: a kernel that is installed would be booted next time. What loads its modules and
# mounts the root is an initial file system of busybox and a script. KVM is used if it is there; without it all takes ten times as long.
set -euo pipefail

KVM_BEGIN_SECONDS=60
EMULATED_BEGIN_SECONDS=600 # on two busy processors it takes minutes

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
home=$top/build/kernel
writable=$(cd "$1" && pwd)
shift

# Prints the version of the kernel that was unpacked.
kernel_unpack() {
    local package
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -1)
    [ -n "$package" ] || { echo "in_kernel: apt knows no linux-image-amd64" >&2; return 1; }
    if [ "$(cat "$home/package" 2>/dev/null)" != "$package" ]; then
        rm -rf "$home"
        mkdir -p "$home/files"
        (cd "$home" && apt-get download -q "$package" >&2 2>/dev/null && dpkg -x "$package"_*.deb files && rm "$package"_*.deb) ||
            { echo "in_kernel: cannot fetch $package" >&2; return 1; }
        printf '%s' "$package" >"$home/package"
    fi
    echo "${package#linux-image-}"
}

# What the machine runs first. $1: the kernel's version.
initial_make() {
    local tree=$home/initial module
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,modules,proc,dev,host,layer,top}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    depmod -b "$home/files" "$1"
    for module in virtio_pci 9pnet_virtio 9p overlay; do
        modprobe -d "$home/files" -S "$1" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
        cp "$module" "$tree/modules/"
        echo "${module##*/}"
    done >"$tree/modules/order"
    cp "$top/tools/lib/in_kernel_init.sh" "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$home/initial.gz"
}

# What the command's shell runs. It lies in WRITABLE, as does its result.
script_make() {
    local name
    {
        echo "cd $(printf %q "$PWD")"
        for name in $(compgen -e FILCH_) PATH HOME LANG ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS; do
            [ -z "${!name+set}" ] || echo "export $name=$(printf %q "${!name}")"
        done
        printf '%q ' "$@"
        echo
    } >"$writable/.in_kernel"
    rm -f "$writable/.in_kernel_status"
}

# machine_runs ACCELERATOR BEGIN_SECONDS: runs the machine to its end. Return: did it begin to work in that time?
machine_runs() {
    local begun=$writable/.in_kernel_begun limit=$2 seconds
    rm -f "$begun"
    qemu-system-x86_64 -machine "q35,accel=$1" -cpu max -smp 2 -m 3G -nodefaults -no-reboot -display none -serial stdio \
        -kernel "$home/files/boot/vmlinuz-$version" -initrd "$home/initial.gz" \
        -append "console=ttyS0 quiet panic=-1 writable=$writable" \
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
        -virtfs "local,path=$writable,mount_tag=writable,security_model=none" </dev/null &
    machine=$!
    for ((seconds = 0; seconds < limit; seconds++)); do
        if [ -e "$begun" ] || ! kill -0 "$machine" 2>/dev/null; then break; fi
        sleep 1
    done
    if [ ! -e "$begun" ] && kill -0 "$machine" 2>/dev/null; then
        echo "in_kernel: no machine began within $limit s with $1" >&2
        kill "$machine"
    fi
    wait "$machine" || true
    machine=
    [ -e "$begun" ] && rm -f "$begun"
}

version=$(kernel_unpack)
initial_make "$version"
script_make "$@"
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true' EXIT
# Some machines have a /dev/kvm that makes machines which never begin.
if ! { [ -w /dev/kvm ] && machine_runs kvm $KVM_BEGIN_SECONDS; }; then machine_runs tcg $EMULATED_BEGIN_SECONDS || true; fi
status=$(cat "$writable/.in_kernel_status" 2>/dev/null || echo 125)
rm -f "$writable/.in_kernel" "$writable/.in_kernel_status"
exit "$status"
