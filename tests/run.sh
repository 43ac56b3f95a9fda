#!/bin/sh
# Runs all tests: sh tests/run.sh [--install-driver] [arguments of cargo test]
#
# Where the machine has no GPU adapter, this prints the command that installs Mesa's software Vulkan driver (lavapipe) or, with
# --install-driver, runs it: as root, or by sudo without a password. Without an adapter the CPU part still runs and each GPU test
# prints SKIPPED. BPTT_REQUIRE_GPU=1 makes a missing adapter a failure.
set -eu
cd "$(dirname "$0")/.."

install_driver=
if [ "${1:-}" = --install-driver ]; then
    install_driver=1
    shift
fi

# Vulkan's loader complains about its absence on every start.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

# What the tests measure while they compete for the machine is not for the user's programs. Mesa's compiled shaders stay where they were.
if [ -z "${XDG_CACHE_HOME:-}" ]; then
    if [ -n "${HOME:-}" ]; then export MESA_SHADER_CACHE_DIR="${MESA_SHADER_CACHE_DIR:-$HOME/.cache}"; fi
    export XDG_CACHE_HOME="$PWD/target/cache"
fi

# The command that installs lavapipe, by this machine's package manager; nothing where none is known.
driver_command() {
    if command -v apt-get >/dev/null; then
        echo "apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1"
    elif command -v dnf >/dev/null; then
        echo "dnf install -y mesa-vulkan-drivers vulkan-loader"
    elif command -v pacman >/dev/null; then
        echo "pacman -S --noconfirm vulkan-swrast vulkan-icd-loader"
    elif command -v apk >/dev/null; then
        echo "apk add mesa-vulkan-swrast vulkan-loader"
    fi
}

# Runs a command as root; its output is shown only if it fails.
as_root() {
    root="sudo -n"
    if [ "$(id -u)" = 0 ]; then root=; fi
    log=$(mktemp)
    status=0
    # Left to split: sudo's words, or none.
    $root sh -c "$1" >"$log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then tail -n 5 "$log"; fi
    rm -f "$log"
    return "$status"
}

has_adapter() {
    cargo run --quiet --release --example adapters
}

# Apart from the question below, so that a failing build is not taken for a missing adapter.
cargo build --release --example adapters
driver=$(driver_command)
if has_adapter; then
    echo "tests/run.sh: this machine has a GPU adapter (above)"
elif [ -z "$driver" ]; then
    echo "tests/run.sh: no GPU adapter, and no package manager that is known here: GPU tests are SKIPPED"
elif [ -z "$install_driver" ]; then
    echo "tests/run.sh: no GPU adapter: GPU tests are SKIPPED. To run them on Mesa's software Vulkan driver, pass --install-driver, or as root:"
    echo "    $driver"
elif as_root "$driver" && has_adapter; then
    echo "tests/run.sh: there was no GPU adapter; installed Mesa's lavapipe (above), a software Vulkan driver"
else
    echo "tests/run.sh: no GPU adapter, and no software driver could be installed: GPU tests are SKIPPED"
fi

cargo test --release "$@"
