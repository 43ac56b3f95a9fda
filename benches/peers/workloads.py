"""The workloads of benches/workloads.rs and its timing policy, for Python peers."""

import os
import sys
import time

# Name, cell, I, H, T, B.
WORKLOADS = [
    ("W1", "rnn", 3, 5, 4, 1),
    ("W1", "lstm", 3, 5, 4, 1),
    ("W1", "gru", 3, 5, 4, 1),
    ("W2", "lstm", 32, 64, 256, 1),
    ("W3", "lstm", 64, 128, 128, 32),
    ("W3", "gru", 64, 128, 128, 32),
    ("W4", "lstm", 128, 512, 64, 64),
    ("W5", "lstm", 512, 512, 100, 64),
    ("W5b", "lstm", 768, 768, 256, 16),
    ("W6", "gru", 16, 64, 2048, 8),
]


def device():
    """What --device names: "cpu", unless it is there."""
    return sys.argv[sys.argv.index("--device") + 1] if "--device" in sys.argv else "cpu"


def wanted():
    """The workloads that the command line names: all, one name, or one name and cell."""
    words = [word for word in sys.argv[1:] if word not in ("bench", "--device", device())]
    return [w for w in WORKLOADS if list(w[: len(words)]) == words[:2]]


def threads():
    return int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count()))


def measure(peer, workload, phase, step):
    """Warm-up for 0.25 s and 3 calls, then 2 s and at least 3; milliseconds: minimum, median, first call."""

    def once():
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    first = once()
    warm, count = first, 1
    while count < 3 or (warm < 0.25 and count < 200):
        warm += once()
        count += 1
    times = []
    while len(times) < 3 or (sum(times) < 2 and len(times) < 5000):
        times.append(once())
    times.sort()
    numbers = [times[0], times[len(times) // 2], first]
    line = [peer, device(), str(threads()), workload[0], workload[1], phase, str(len(times))]
    print(",".join(line + [f"{1e3 * number:.4f}" for number in numbers]), flush=True)
