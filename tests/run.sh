#!/bin/sh
# Runs all tests: sh tests/run.sh [arguments of cargo test]
#
# Where the machine has no GPU adapter, this installs Mesa's software Vulkan driver (lavapipe) if it may: as root, or by sudo
# without a password. Where it may not, the CPU part still runs and each GPU test prints SKIPPED. BPTT_REQUIRE_GPU=1 makes a
# missing adapter a failure.
set -eu
cd "$(dirname "$0")/.."

# Vulkan's loader complains about its absence on every start.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_lavapipe() {
    if command -v apt-get >/dev/null; then
        as_root apt-get update && as_root apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1
    elif command -v dnf >/dev/null; then
        as_root dnf install -y mesa-vulkan-drivers vulkan-loader
    elif command -v pacman >/dev/null; then
        as_root pacman -S --noconfirm vulkan-swrast vulkan-icd-loader
    elif command -v apk >/dev/null; then
        as_root apk add mesa-vulkan-swrast vulkan-loader
    else
        return 1
    fi
}

log=$(mktemp)
has_adapter() {
    cargo run --quiet --release --example adapters
}

# Apart from the question below, so that a failing build is not taken for a missing adapter.
cargo build --release --example adapters
if has_adapter; then
    echo "tests/run.sh: this machine has a GPU adapter (above)"
elif install_lavapipe >"$log" 2>&1 && has_adapter; then
    echo "tests/run.sh: there was no GPU adapter; installed Mesa's lavapipe (above), a software Vulkan driver"
else
    tail -n 5 "$log" 2>/dev/null || true
    echo "tests/run.sh: no GPU adapter, and no software driver could be installed: GPU tests are SKIPPED"
fi
rm -f "$log"

cargo test --release "$@"
