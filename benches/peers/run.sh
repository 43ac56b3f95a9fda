#!/bin/sh
# Times this crate and its peers in turn, workload by workload, and prints one table:
#
#   python -m venv venv && venv/bin/pip install -r tests/golden/requirements.txt
#   PYTHON=venv/bin/python sh benches/peers/run.sh [WORKLOAD [CELL]]
#
# ROUNDS (3) rounds; the table has the minimum and the median of the rounds' minima. THREADS: "2 1" times both numbers of threads.
# Nothing else may run meanwhile: with a compiler beside it PyTorch slows tenfold.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
results=${RESULTS:-target/peers.csv}
mkdir -p "$(dirname "$results")"
: >"$results"
cargo bench --no-run --bench workloads
if [ $# -gt 0 ]; then set -- bench "$@"; fi
for round in $(seq "${ROUNDS:-3}"); do
    for threads in ${THREADS:-$(nproc)}; do
        export RAYON_NUM_THREADS="$threads"
        echo "round $round, $threads threads" >&2
        cargo bench --quiet --bench workloads -- "$@" | grep '^bptt' >>"$results"
        "$python" benches/peers/torch_peer.py "$@" >>"$results"
        "$python" benches/peers/onnxruntime_peer.py "$@" >>"$results"
    done
done
"$python" benches/peers/table.py "$results"
