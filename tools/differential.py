"""Runs random recurrent stacks through PyTorch and through this crate, and compares every result.

    cargo build --release --example replay
    python -m venv venv && venv/bin/pip install -r tests/golden/requirements.txt
    venv/bin/python tools/differential.py                      # 300 stacks on cpu64, cpu and gpu
    venv/bin/python tools/differential.py --plain              # only torch.nn's keys and reset_after
    venv/bin/python tools/differential.py --devices gpu --count 50 --seed 7
    venv/bin/python tools/differential.py --replay PATH --keep FOLDER

A stack is drawn from the seed and its number: cell, sizes (odd ones too, T, B and H down to 1),
layers, directions, lengths (rows of length 0 too, all of them sometimes) and every further key of
a case. The expected numbers are float64 from torch.nn where it has the stack, where not from
tests/golden/reference.py, which runs both ways and must agree with torch.nn.

For each kind of tensor and each device it prints the worst

    |got - expected| / (|expected| + rms(expected))

over all elements of all stacks, and the stack's number in parentheses. More than 1e-10 (cpu64) or
1e-4 (cpu, gpu), a NaN, a tensor missing or misshapen, or a replay that fails makes the exit status
1; such a stack's case, expected and computed tensors are kept in FOLDER (target/differential).

A stack is drawn again where a value lies closer to a kink of its activation or clip than float32
can tell, and where PyTorch's own float32 misses a quarter of the tolerance: there the numbers of
two correct programs may differ by more.
"""

import argparse
import collections
import json
import math
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "golden"))

import torch
from safetensors.torch import load_file

import generate
import reference

TOLERANCES = {"cpu64": 1e-10, "cpu": 1e-4, "gpu": 1e-4}
# No value closer than this to a kink.
MARGIN = 1e-4
KINDS = ["y", "hn", "cn", "dx", "dh0", "dc0"]

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 21, 31, 32, 33, 40, 47, 63, 64, 65]
STEPS = [1, 2, 3, 4, 5, 7, 8, 11, 16, 17, 20]

# A bounded activation where a product of states would grow.
BOUNDED = ["sigmoid", "tanh", "hard_sigmoid", "softsign", "scaled_tanh", "affine"]
ALPHAS = {
    "hard_sigmoid": (0.15, 0.4),
    "leaky_relu": (0.01, 0.3),
    "elu": (0.5, 1.2),
    "affine": (-0.5, 0.7),
    "scaled_tanh": (0.5, 1.5),
    "thresholded_relu": (-0.2, 0.5),
}
BETAS = {"hard_sigmoid": (0.3, 0.6), "affine": (-0.3, 0.5), "scaled_tanh": (0.5, 1.2)}
# By slot: is it multiplied with a state?
GATE = {"rnn_tanh": [False], "gru": [True, True, False], "lstm": [True, True, False, True, False]}


# ----------------------------------------------------------------------- draw


def draw_activation(rng, gate):
    name = rng.choice(BOUNDED if gate else list(reference.ACTIVATIONS))
    bare = rng.random() < 0.5 and name != "affine"
    if bare and (name not in ALPHAS or rng.random() < 0.5):
        return name
    item = {"name": name}
    for key, ranges in [("alpha", ALPHAS), ("beta", BETAS)]:
        if name in ranges:
            item[key] = round(rng.uniform(*ranges[name]), 3)
    return item


def draw_further(rng, meta):
    """Keys that torch.nn has not got."""
    cell, chance = meta["cell"], rng.choice([0.1, 0.3, 0.6])

    def some():
        return rng.random() < chance

    if some():
        meta["bias"] = "one"
    if some():
        meta["skip_input"] = True
        meta["input_size"] = meta["hidden_size"]
    if some():
        meta["clip"] = rng.choice([0.3, 0.8, 1.5])
    if cell in GATE and some():
        meta["activations"] = [draw_activation(rng, gate) for gate in GATE[cell]]
    if cell == "lstm":
        if some():
            meta["cell_clip"] = rng.choice([0.2, 0.5, 1.0])
        if some():
            meta["peepholes"] = True
        if some():
            meta["input_forget"] = True
    for key in reference.DROPPED:
        if some():
            meta[key] = rng.choice([0.1, 0.25, 0.3, 0.5, 0.7])
    if some():
        p_c = rng.choice([0.0, 0.1, 0.5]) if cell == "lstm" else 0.0
        meta["zoneout"] = [rng.choice([0.0, 0.05, 0.3, 0.5]), p_c]
    if rng.random() < 0.7:
        step = rng.choice([0, 1, rng.getrandbits(16), rng.getrandbits(64)])
        meta["train"] = {"seed": rng.getrandbits(64), "step": step}


def draw_stack(rng, plain):
    """(metadata, T, B, lengths, absent tensors)"""
    cell = rng.choice([*reference.CELLS, "lstm", "gru"])
    large = rng.random() < 0.4
    sizes = SIZES if large else [s for s in SIZES if s <= 17]
    meta = {"cell": cell, "input_size": rng.choice(sizes), "hidden_size": rng.choice(sizes)}
    # A default may be spelt out.
    draws = {
        "num_layers": rng.choice([1, 1, 1, 2, 2, 3]),
        "bidirectional": rng.random() < 0.4,
        "bias": rng.random() < 0.8,
        "batch_first": rng.random() < 0.3,
        "proj_size": 0,
        "reset_after": True,
    }
    if cell == "lstm" and meta["hidden_size"] > 1 and rng.random() < 0.4:
        draws["proj_size"] = rng.randrange(1, meta["hidden_size"])
    if cell == "gru":
        draws["reset_after"] = rng.random() < 0.5
    own = {key for key, owner in reference.OWN.items() if owner != cell}
    for key, value in draws.items():
        if value != reference.DEFAULTS[key] or (rng.random() < 0.3 and key not in own):
            meta[key] = value
    if not plain and rng.random() < 0.8:
        draw_further(rng, meta)
    t = rng.choice(STEPS)
    b = rng.randint(1, 9)
    lengths = None
    if rng.random() < 0.4:
        least = rng.choice([0, 0, 1])
        lengths = [rng.randint(least, t) for _ in range(b)]
        if rng.random() < 0.1:
            lengths = [0] * b
    absent = [name for name in ["h0", "c0", "dhn", "dcn"] if rng.random() < 0.15]
    if rng.random() < 0.04:
        absent += ["dy"]
    return meta, t, b, lengths, absent


def draw(number, seed, plain):
    """(metadata, tensors, expected, by torch.nn?)"""
    rng = random.Random(f"{seed} {number}")
    while True:
        meta, t, b, lengths, absent = draw_stack(rng, plain)
        for _ in range(8):
            tensors = reference.draw(meta, t, b, rng.getrandbits(32), lengths, absent)
            _, margin = reference.evaluate(meta, tensors, gradients=False)
            if margin < MARGIN:
                # Fewer values, so that none of them is near.
                t, b = max(1, t * 3 // 4), max(1, b * 3 // 4)
                lengths = lengths and [min(length, t) for length in lengths[:b]]
                continue
            expected = reference.run(meta, tensors)
            single, _ = reference.evaluate(meta, tensors, dtype=reference.F32)
            worst = max(error(single[k].double(), v) for k, v in expected.items())
            if not worst <= TOLERANCES["cpu"] / 4:
                break
            if not reference.plain(meta):
                return meta, tensors, expected, False
            by_torch = run_torch(meta, tensors)
            assert expected.keys() == by_torch.keys()
            for k, v in by_torch.items():
                assert error(expected[k], v) < 1e-11, ("reference.py is wrong", number, k)
            return meta, tensors, by_torch, True


# ------------------------------------------------------------------- expected


def run_torch(meta, tensors):
    """torch.nn's results. Rows of length 0, which it refuses, are put around them."""
    cfg = generate.DEFAULTS | meta
    lengths = tensors.get("lengths")
    if lengths is None or (lengths > 0).all():
        return generate.by_torch(cfg, tensors)
    rows = (lengths > 0).nonzero()[:, 0]
    b, t = (0, 1) if cfg["batch_first"] else (1, 0)

    def axis(name):
        return b if name in ("x", "y", "dx", "dy") else 1

    # What a row of length 0 has: no outputs, its states as they came, their gradients as they came.
    states = cfg["num_layers"] * (1 + cfg["bidirectional"])
    width = cfg["proj_size"] or cfg["hidden_size"]
    shape = list(tensors["x"].shape)
    shape[2] = width * (1 + cfg["bidirectional"])
    out = {"y": torch.zeros(shape, dtype=torch.float64)}
    widths = {"h": width} | ({"c": cfg["hidden_size"]} if cfg["cell"] == "lstm" else {})
    gradients = {"dx": torch.zeros(tensors["x"].shape, dtype=torch.float64)}
    for s, width in widths.items():
        zeros = torch.zeros(states, len(lengths), width)
        out[f"{s}n"] = tensors.get(f"{s}0", zeros).double()
        gradients[f"d{s}0"] = tensors.get(f"d{s}n", zeros).double()
    weights = reference.weight_shapes(meta)
    if "dy" in tensors:
        zeros = {f"d.{k}": torch.zeros(v, dtype=torch.float64) for k, v in weights.items()}
        out |= gradients | zeros
    if len(rows) == 0:
        return out
    some = {
        k: v[rows] if k == "lengths" else v if k in weights else v.index_select(axis(k), rows)
        for k, v in tensors.items()
    }
    for k, v in generate.by_torch(cfg, some).items():
        out[k] = v if k.startswith("d.") else out[k].index_copy(axis(k), rows, v)
    return out


# -------------------------------------------------------------------- compare


def error(got, expected):
    """The worst element's; inf for anything where nothing but zeros is expected, and for a NaN."""
    off = (got - expected).abs()
    scale = expected.abs() + expected.square().mean().sqrt()
    relative = torch.where(off == 0, torch.zeros_like(off), off / scale)
    return math.inf if relative.isnan().any() else relative.max().item()


def compare(path, expected, dtype):
    """{name: error}, and what is wrong beside numbers."""
    got = load_file(path)
    errors, wrong = {}, []
    for name in sorted(got.keys() | expected.keys()):
        if name not in got or name not in expected:
            wrong.append(f"{name} is {'missing' if name in expected else 'unexpected'}")
        elif got[name].shape != expected[name].shape or got[name].dtype != dtype:
            wrong.append(f"{name} is {got[name].dtype} {list(got[name].shape)}")
        else:
            errors[name] = error(got[name].double(), expected[name])
    return errors, wrong


def replay(program, case, out, device):
    """Nothing, or what is wrong."""
    command = [program, case, out, "--device", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "no answer in 300 s"
    if done.returncode == 0:
        return None if out.exists() else "exit status 0 without OUT"
    return f"exit status {done.returncode}: {done.stderr.strip()}"


def kind(name):
    return re.sub(r"_l\d+(_reverse)?$", "", name)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    target = ROOT / "target"
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--devices", default="cpu64,cpu,gpu")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--replay", type=pathlib.Path, default=target / "release/examples/replay")
    parser.add_argument("--keep", type=pathlib.Path, default=target / "differential")
    arguments = parser.parse_args()
    devices = arguments.devices.split(",")
    if unknown := set(devices) - TOLERANCES.keys():
        parser.error(f"--devices: {', '.join(sorted(unknown))}, expected cpu64, cpu, gpu")
    program = shutil.which(arguments.replay.resolve())
    if program is None:
        parser.error(f"{arguments.replay}: not there; cargo build --release --example replay")

    start, from_torch, failures = time.monotonic(), 0, 0
    # By kind and device.
    worst = collections.defaultdict(lambda: (-1.0, None))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for number in range(arguments.count):
            meta, tensors, expected, by_torch = draw(number, arguments.seed, arguments.plain)
            from_torch += by_torch
            case = folder / "case.safetensors"
            generate.write(case, tensors, {"bptt": json.dumps(meta)})
            failed, outs = False, {}
            for device in devices:
                dtype = torch.float64 if device == "cpu64" else torch.float32
                outs[device] = out = folder / f"{device}.out.safetensors"
                out.unlink(missing_ok=True)
                errors, wrong = {}, []
                if reason := replay(program, case, out, device):
                    wrong = [reason]
                else:
                    errors, wrong = compare(out, expected, dtype)
                for name, value in errors.items():
                    key = kind(name), device
                    worst[key] = max(worst[key], (value, number), key=lambda w: w[0])
                    if not value <= TOLERANCES[device]:
                        wrong.append(f"{name} off by {value:.1e}")
                if wrong:
                    failed = True
                    print(f"{number} {device}: {'; '.join(wrong)}", flush=True)
            if failed:
                failures += 1
                print(f"    {json.dumps(meta)}", flush=True)
                keep(arguments.keep, number, case, expected, outs)

    kinds = {k for k, _ in worst}
    print(f"\n{'':16}" + "".join(f"{device:>18}" for device in devices))
    for k in [k for k in KINDS if k in kinds] + sorted(kinds - set(KINDS)):
        row = [(worst[k, device]) for device in devices]
        cells = ["" if n is None else f"{value:.1e} {f'({n})':>7}" for value, n in row]
        print(f"{k:16}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"{'tolerance':16}" + "".join(f"{TOLERANCES[device]:>10.0e}{'':8}" for device in devices))
    print(
        f"{arguments.count} stacks, seed {arguments.seed}: {from_torch} by torch.nn, "
        f"{arguments.count - from_torch} by reference.py; {failures} failed; "
        f"{time.monotonic() - start:.0f} s"
    )
    if failures:
        print(f"failing cases: {arguments.keep}")
    sys.exit(1 if failures else 0)


def keep(folder, number, case, expected, outs):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(case, folder / f"{number}.case.safetensors")
    generate.write(folder / f"{number}.expected.safetensors", expected)
    for device, out in outs.items():
        kept = folder / f"{number}.{device}.out.safetensors"
        kept.unlink(missing_ok=True)
        if out.exists():
            shutil.copy(out, kept)


if __name__ == "__main__":
    main()
