#!/bin/sh
# Records what a GPU does. Meant to take ten minutes on a hardware GPU; only lavapipe has run it yet:
#
#   sh benches/gpu.sh [WORKLOAD [CELL]]
#
# BPTT_ADAPTER names the adapter, else it is the best there is. Into benches/record/ADAPTER go
#
#   adapter.txt     adapter, driver, commit, date
#   tests.txt       the results of all tests, the GPU required (SKIP_TESTS=1 leaves them out)
#   workloads.csv   every workload on the adapter, then with weights in f16; PyTorch's with CUDA below, where $PYTHON (python3) imports it
#   gemm.csv        matrix products by every kernel, the chosen one first, beside the adapter's peak of multiply-adds in registers
#   kernels.csv     a training step of every workload by kernel, from the adapter's own timestamps
#
# and into target/record/ADAPTER the traces of those steps, for chrome://tracing or Perfetto. A workload's name limits all but tests and gemm to it.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

cargo build --release --example adapters
cargo bench --no-run --bench workloads --bench gemm
adapters=$(cargo run --quiet --release --example adapters)
# The best device is no software adapter, but the benches take one where there is no other, the first.
adapter=$(echo "$adapters" | sed -n 's/^best: GPU: //p')
adapter=${adapter:-$(echo "$adapters" | head -n 1)}
name=$(echo "${adapter%% (*}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' '-')
record=benches/record/${name%-}
traces=target/record/${name%-}
rm -rf "$traces"
mkdir -p "$record" "$traces"
{
    echo "$adapter"
    echo "$(uname -sm), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)"
} | tee "$record/adapter.txt"

if [ -z "${SKIP_TESTS:-}" ]; then
    echo "tests" >&2
    status=0
    BPTT_REQUIRE_GPU=1 cargo test --release >"$traces/tests.log" 2>&1 || status=$?
    # With what failed, if anything did.
    grep -E '^ +(Running|Doc-tests)|^test result|FAILED|panicked' "$traces/tests.log" >"$record/tests.txt"
    echo "exit status $status" >>"$record/tests.txt"
    tail -n 1 "$record/tests.txt"
fi

echo "workloads" >&2
heading=library,device,threads,workload,cell,phase,repetitions,minimum_ms,median_ms,first_ms
echo "$heading,gflops,percent_of_peak" >"$record/workloads.csv"
cargo bench --quiet --bench workloads -- --device gpu "$@" | grep '^bptt' >>"$record/workloads.csv"
cargo bench --quiet --bench workloads -- --f16 "$@" | grep '^bptt' >>"$record/workloads.csv" || echo "f16 failed" >&2
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    "$python" benches/peers/reference.py "$@"
    "$python" benches/peers/torch_peer.py --device cuda "$@" | sed 's/$/,,/' >>"$record/workloads.csv"
else
    echo "no PyTorch with CUDA in $python: left out" >&2
fi

echo "matrix products" >&2
echo device,workload,product,m,n,k,kernel,milliseconds,gflops,percent_of_peak >"$record/gemm.csv"
cargo bench --quiet --bench gemm -- --device gpu | grep '^gpu,' >>"$record/gemm.csv"

echo "kernels" >&2
cargo bench --quiet --bench workloads -- --device gpu --profile "$traces/step.json" "$@"
awk 'FNR > 1 || NR == 1' "$traces"/*.csv >"$record/kernels.csv"
wc -l "$record"/*.csv
