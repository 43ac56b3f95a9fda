"""The workloads and their timing policy for Python peers, as benches/common/policy.rs has them, and the comparison with reference.py's answers."""

import collections
import csv
import os
import pathlib
import sys
import time

Workload = collections.namedtuple("Workload", "name cell inputs hidden steps batch layers directions ragged")
HERE = pathlib.Path(__file__).parent
REFERENCE = pathlib.Path(os.environ.get("REFERENCE", HERE / "../../target/peers/reference"))
# Brings a library's own fixed memory into being, before memory is measured.
TINY = Workload("tiny", "lstm", 3, 5, 4, 1, 1, 1, False)


def device():
    """What --device names: "cpu", unless it is there."""
    return sys.argv[sys.argv.index("--device") + 1] if "--device" in sys.argv else "cpu"


def words_of_command():
    return [word for word in sys.argv[1:] if word not in ("--device", device())]


def workloads():
    """All, or what the command line names: [WORKLOAD [CELL [PHASE]]]."""
    rows = [Workload(*row[:2], *map(int, row[2:8]), row[8] == "ragged") for row in csv.reader(open(HERE / "../workloads.csv"))]
    words = words_of_command()[:2]
    return [row for row in rows if list(row[: len(words)]) == words]


def lengths(workload):
    """The steps of each row: T, 3T/4, T/2 and T/4 in turn; None where they are all T."""
    if workload.ragged:
        return [-(-workload.steps * (4 - row % 4) // 4) for row in range(workload.batch)]


def wanted(phase):
    """Infer, train, or memory, which must be asked for."""
    words = words_of_command()
    return words[2] == phase if len(words) > 2 else phase != "memory"


def threads():
    return int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count()))


def check(peer, workload, name, got, expected):
    """Ends the program where an answer is off: the largest difference over the largest expected magnitude."""
    difference = abs(got - expected).max() / abs(expected).max()
    tolerance = 1e-4 if name == "y" else 1e-3
    print(f"{peer} {workload.name}_{workload.cell} {name}: relative difference {difference:.1e}", file=sys.stderr)
    # NaN is not within it.
    if not difference <= tolerance:
        sys.exit(f"{peer} {workload.name}_{workload.cell}: not timed, as {name} is off by more than {tolerance}")


def line(peer, workload, phase, runs, *numbers):
    fields = [peer, device(), threads(), workload.name, workload.cell, phase, runs]
    print(",".join([*map(str, fields), *(f"{number:.4f}" for number in numbers)]), flush=True)


def measure(peer, workload, phase, step, compare):
    """The first call, whose answer is compared; warm-up for 0.25 s and 3 calls; then BUDGET (2) seconds and at least 3, warm-up and calls each CAP (60) seconds
    at most. Milliseconds: minimum, median, first call."""
    budget, cap = (float(os.environ.get(name, default)) for name, default in [("BUDGET", 2), ("CAP", 60)])

    def once():
        start = time.perf_counter()
        answer = step()
        return time.perf_counter() - start, answer

    first, answer = once()
    compare(answer)
    warm, count = first, 1
    while warm < cap and (count < 3 or (warm < 0.25 and count < 200)):
        warm += once()[0]
        count += 1
    times = []
    while sum(times) < cap and (len(times) < 3 or (sum(times) < budget and len(times) < 5000)):
        times.append(once()[0])
    times.sort()
    numbers = [times[0], times[len(times) // 2], first]
    line(peer, workload, phase, len(times), *(1e3 * number for number in numbers))


def resident():
    """The resident memory in MiB: now, and the most so far."""
    status = dict(row.split(":", 1) for row in open("/proc/self/status"))
    return [int(status[name].split()[0]) / 1024 for name in ["VmRSS", "VmHWM"]]


def peak_memory(peer, workload, before, step):
    """The peak memory of three training steps in MiB, beyond what there was before."""
    step()
    first = resident()[1] - before
    step()
    step()
    most = resident()[1] - before
    line(peer, workload, "memory", 3, most, most, first)
