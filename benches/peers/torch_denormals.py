"""The rows of `cargo bench --bench denormals` in PyTorch: python torch_denormals.py; RAYON_NUM_THREADS sets its threads."""

import time

import torch

from workloads import threads

INPUTS, HIDDEN, BATCH = 16, 64, 32
torch.set_num_threads(threads())
torch.manual_seed(1)


def shortest(run):
    """Milliseconds, after a run that is not counted."""
    run()
    times, started = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - started < 0.3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def numbers(steps):
    return torch.sin(torch.arange(steps * BATCH * INPUTS).reshape(steps, BATCH, INPUTS) * 0.1)


def training(steps, at_last):
    net, last = torch.nn.LSTM(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    adam = torch.optim.Adam([*net.parameters(), *last.parameters()], lr=1e-3, fused=True)
    x = numbers(steps)

    def step():
        adam.zero_grad()
        y = net(x)[0]
        (last(y[-1] if at_last else y) - 1).square().mean().backward()
        adam.step()

    return shortest(step)


def forward(steps, silent):
    net, x = torch.nn.LSTM(INPUTS, HIDDEN, bias=False), numbers(steps)
    if silent:
        x[steps // 10 :] = 0
    with torch.inference_mode():
        return shortest(lambda: net(x))


print("| | T | ordinary | fading | times |\n|---|---|---|---|---|")
for name, run, lengths in [
    ("training, gradients vanish", training, [250, 1000]),
    ("forward, silence after sound", forward, [1000, 4000]),
]:
    for steps in lengths:
        ordinary, fading = run(steps, False), run(steps, True)
        print(f"| {name} | {steps} | {ordinary:.2f} | {fading:.2f} | {fading / ordinary:.2f} |")
