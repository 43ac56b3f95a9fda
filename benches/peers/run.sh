#!/bin/sh
# Compares the answers of this crate and its peers with PyTorch's in f64, times them in turn on this machine, and prints one table:
#
#   python -m venv venv && venv/bin/pip install -r tests/golden/requirements.txt
#   PYTHON=venv/bin/python sh benches/peers/run.sh [WORKLOAD [CELL [PHASE]]]
#
# README.md beside it has the settings. Nothing else may run meanwhile: with a compiler beside it PyTorch slows tenfold.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
peers=${PEERS-torch onnxruntime candle}
results=${RESULTS:-target/peers/results.csv}
reference=$PWD/target/peers/reference
build=${PEERS_TARGET:-$PWD/target/peers/build}
mkdir -p "$(dirname "$results")"
if [ -z "${APPEND:-}" ]; then : >"$results"; fi

cargo bench --no-run --bench workloads
REFERENCE=$reference "$python" benches/peers/reference.py ${1:+"$1"} ${2:+"$2"}
cargo_peer() {
    CARGO_TARGET_DIR=$build cargo build --release --locked --manifest-path benches/peers/Cargo.toml "$@"
}
burn=
for peer in $peers; do
    case $peer in
    candle) cargo_peer -p peer-candle ;;
    burn-flex) burn=${burn:-flex} ;;
    # Both, so that one build serves either.
    burn-wgpu) burn=flex,wgpu ;;
    esac
done
if [ -n "$burn" ]; then cargo_peer -p peer-burn --features "${BURN:-$burn}"; fi
if [ -n "${BUILD:-}" ]; then exit; fi

# A peer, then what of the workloads.
peer() {
    peer=$1
    shift
    case $peer in
    candle) "$build/release/peer-candle" --reference "$reference" "$@" ;;
    burn-*) "$build/release/peer-burn" "${peer#burn-}" --reference "$reference" "$@" ;;
    *) REFERENCE=$reference "$python" "benches/peers/${peer}_peer.py" "$@" ;;
    esac
}

everyone() {
    for device in ${DEVICE-cpu}; do
        cargo bench --quiet --bench workloads -- --device "$device" --reference "$reference" "$@" | grep '^bptt' >>"$results" ||
            echo "bptt failed" >&2
    done
    for name in $peers; do
        # One that fails, or is off, leaves the others.
        peer "$name" "$@" >>"$results" || echo "$name failed" >&2
    done
}

if [ -n "${MEMORY:-}" ]; then
    # A process each, as it is the process whose memory is measured.
    grep -v '^W[12],' benches/workloads.csv | while IFS=, read -r workload cell _; do
        everyone "$workload" "$cell" memory
    done
else
    if [ -n "${WARM:-}" ]; then
        for name in $peers; do BUDGET=0 peer "$name" "$@" >&2; done
    fi
    for round in $(seq "${ROUNDS:-3}"); do
        for threads in ${THREADS:-$(nproc)}; do
            export RAYON_NUM_THREADS="$threads"
            echo "round $round, $threads threads" >&2
            everyone "$@"
        done
    done
fi
"$python" benches/peers/table.py "$results"
