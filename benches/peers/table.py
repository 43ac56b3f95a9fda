"""The table of run.sh's lines: python table.py RESULTS.csv. Milliseconds, or MiB for memory; in parentheses how many times ours the peer takes."""

import collections
import csv
import math
import statistics
import sys

# By threads, device and phase; then by workload and peer, of each round the minimum and the first call.
tables = collections.defaultdict(lambda: collections.defaultdict(list))
for row in csv.reader(open(sys.argv[1])):
    peer, device, threads, name, cell, phase, _, least, _, first, *_ = row
    tables[threads, device, phase][f"{name} {cell}", peer].append((float(least), float(first)))


def show(title, part, text, compare=True):
    """A row a workload, a column a peer; ratios are of minima."""
    peers = list(dict.fromkeys(peer for _, peer in part))
    print(f"\n{title}\n\n| workload | {' | '.join(peers)} |\n|{'---|' * (len(peers) + 1)}")
    ratios = collections.defaultdict(list)
    for workload in dict.fromkeys(workload for workload, _ in part):
        cells = []
        for peer in peers:
            values, ours = part.get((workload, peer)), part.get((workload, "bptt"))
            cells.append(text(values) if values else "–")
            if compare and values and ours and peer != "bptt":
                ratio = min(values) / min(ours)
                ratios[peer].append(ratio)
                cells[-1] += f" ({ratio:.2f})"
        print(f"| {workload} | {' | '.join(cells)} |")
    for peer, values in ratios.items():
        mean = math.exp(statistics.fmean(math.log(value) for value in values))
        print(f"\n{peer}: {mean:.2f} times ours, geometric mean; least {min(values):.2f}")


def least(values):
    return f"{min(values):.4g}"


def least_and_median(values):
    return f"{min(values):.4g} / {statistics.median(values):.4g}"


for (threads, device, phase), part in sorted(tables.items(), key=lambda item: (item[0][1:], -int(item[0][0]))):
    minima = {key: [value for value, _ in rounds] for key, rounds in part.items()}
    if phase == "memory":
        show(f"Peak memory of a training step, {device}, MiB", minima, least)
        continue
    where = f"{phase}, {device}, {threads} threads"
    show(f"{where}: minimum / median of the rounds' minima, ms", minima, least_and_median)
    firsts = {key: [first for _, first in rounds] for key, rounds in part.items()}
    show(f"{where}: first call, the rounds' minimum, ms", firsts, least, compare=False)
