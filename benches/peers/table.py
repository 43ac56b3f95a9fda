"""The table of run.sh's lines: python table.py RESULTS.csv. Milliseconds; in parentheses how many times ours the peer takes."""

import collections
import csv
import math
import statistics
import sys

times = collections.defaultdict(list)
for row in csv.reader(open(sys.argv[1])):
    peer, device, threads, name, cell, phase, _, least, *_ = row
    times[threads, phase, f"{name} {cell}", f"{peer} {device}"].append(float(least))

for threads, phase in sorted({key[:2] for key in times}, reverse=True):
    part = {key[2:]: values for key, values in times.items() if key[:2] == (threads, phase)}
    peers = list(dict.fromkeys(peer for _, peer in part))
    print(f"\n{phase}, {threads} threads: minimum / median of the rounds' minima, ms\n")
    print(f"| workload | {' | '.join(peers)} |\n|{'---|' * (len(peers) + 1)}")
    ratios = collections.defaultdict(list)
    for workload in dict.fromkeys(workload for workload, _ in part):
        cells = []
        for peer in peers:
            values = part.get((workload, peer))
            if not values:
                cells.append("–")
                continue
            text = f"{min(values):.4g} / {statistics.median(values):.4g}"
            ours = part.get((workload, peers[0]))
            if ours and peer != peers[0]:
                ratio = min(values) / min(ours)
                ratios[peer].append(ratio)
                text += f" ({ratio:.2f})"
            cells.append(text)
        print(f"| {workload} | {' | '.join(cells)} |")
    for peer, values in ratios.items():
        mean = math.exp(statistics.fmean(math.log(value) for value in values))
        print(f"\n{peer}: {mean:.2f} times ours, geometric mean; least {min(values):.2f}")
