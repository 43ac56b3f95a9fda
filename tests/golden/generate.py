"""Writes the golden files from PyTorch in float64 on the CPU. See README.md.

    python generate.py [FOLDER]

Every input and weight is drawn in float64 and rounded to float32, so a float32
program starts from exactly the numbers the float64 results belong to.
"""

import itertools
import json
import math
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load, save
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

F32, F64 = torch.float32, torch.float64
CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DEFAULTS = {
    "num_layers": 1,
    "bidirectional": False,
    "bias": True,
    "batch_first": False,
    "proj_size": 0,
    "reset_after": True,
}
# rnn_relu: no pre-activation closer to the kink than this.
RELU_MARGIN = 1e-3


def normal(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=F64) * scale).to(F32)


def uniform(*shape, bound=1.0):
    return ((torch.rand(*shape, dtype=F64) * 2 - 1) * bound).to(F32)


def write(path, tensors, metadata=None):
    # One metadata key at most: the order of several is not fixed.
    tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    for name, t in tensors.items():
        assert t.dtype == torch.int64 or torch.isfinite(t).all(), name
    replace(path, save(tensors, metadata))


def replace(path, data):
    """The file appears whole or not at all."""
    path = path.resolve()
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
        draft.write(data)
    draft = pathlib.Path(draft.name)
    # A draft is its owner's alone.
    draft.chmod(path.stat().st_mode if path.exists() else 0o644)
    draft.replace(path)


# ---------------------------------------------------------------- recurrent


def weight_shapes(cfg):
    g, h, p = GATES[cfg["cell"]], cfg["hidden_size"], cfg["proj_size"]
    d, s = 1 + cfg["bidirectional"], p or h
    shapes = {}
    for k in range(cfg["num_layers"]):
        i = cfg["input_size"] if k == 0 else d * s
        for suffix in [f"l{k}", f"l{k}_reverse"][:d]:
            shapes[f"weight_ih_{suffix}"] = (g * h, i)
            shapes[f"weight_hh_{suffix}"] = (g * h, s)
            if cfg["bias"]:
                shapes[f"bias_ih_{suffix}"] = (g * h,)
                shapes[f"bias_hh_{suffix}"] = (g * h,)
            if p:
                shapes[f"weight_hr_{suffix}"] = (p, h)
    return shapes


def draw_case(cfg, case, seed):
    torch.manual_seed(seed)
    t, b = case["T"], case["B"]
    h, s = cfg["hidden_size"], cfg["proj_size"] or cfg["hidden_size"]
    d = 1 + cfg["bidirectional"]
    lead = (b, t) if cfg["batch_first"] else (t, b)
    states = (cfg["num_layers"] * d, b)
    bound = case.get("scale", 1.5) / math.sqrt(h)

    out = {name: uniform(*shape, bound=bound) for name, shape in weight_shapes(cfg).items()}
    out["x"] = normal(*lead, cfg["input_size"])
    out["h0"] = normal(*states, s, scale=0.5)
    out["c0"] = normal(*states, h, scale=0.5)
    out["dy"] = normal(*lead, d * s)
    out["dhn"] = normal(*states, s)
    out["dcn"] = normal(*states, h)
    if cfg["cell"] != "lstm":
        del out["c0"], out["dcn"]
    for name in case.get("without", []):
        out.pop(name, None)
    if "lengths" in case:
        out["lengths"] = torch.tensor(case["lengths"], dtype=torch.int64)
    return out


def leaves(tensors):
    """The case's tensors widened, absent ones left out, ready for autograd."""
    return {
        k: v if k == "lengths" else v.to(F64).requires_grad_(not k.startswith("d"))
        for k, v in tensors.items()
    }


def with_states(cfg, ten):
    """h0, c0, zeros where the case has none."""
    b = ten["x"].shape[0 if cfg["batch_first"] else 1]
    n, h = cfg["num_layers"] * (1 + cfg["bidirectional"]), cfg["hidden_size"]
    widths = {"h0": cfg["proj_size"] or h}
    if cfg["cell"] == "lstm":
        widths["c0"] = h
    for name, width in widths.items():
        if name not in ten:
            ten[name] = torch.zeros(n, b, width, dtype=F64, requires_grad=True)


def collect(cfg, ten, y, hn, cn):
    out = {"y": y, "hn": hn}
    if cn is not None:
        out["cn"] = cn
    if "dy" not in ten:
        return out
    loss = (y * ten["dy"]).sum()
    if "dhn" in ten:
        loss = loss + (hn * ten["dhn"]).sum()
    if "dcn" in ten:
        loss = loss + (cn * ten["dcn"]).sum()
    wanted = {"x": "dx", "h0": "dh0"}
    if cn is not None:
        wanted["c0"] = "dc0"
    wanted |= {name: f"d.{name}" for name in weight_shapes(cfg)}
    grads = torch.autograd.grad(loss, [ten[name] for name in wanted])
    return out | dict(zip(wanted.values(), grads))


def by_torch(cfg, tensors):
    """The golden results: torch.nn.RNN, LSTM, GRU."""
    ten = leaves(tensors)
    with_states(cfg, ten)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cfg["cell"], torch.nn.RNN)
    args = {k: cfg[k] for k in ["num_layers", "bias", "batch_first", "bidirectional"]}
    if kind is torch.nn.RNN:
        args["nonlinearity"] = cfg["cell"].removeprefix("rnn_")
    if kind is torch.nn.LSTM:
        args["proj_size"] = cfg["proj_size"]
    net = kind(cfg["input_size"], cfg["hidden_size"], dtype=F64, **args)
    names = [n for n, _ in net.named_parameters()]
    assert sorted(names) == sorted(weight_shapes(cfg))
    # functional_call keeps the case's own tensors as the leaves.
    params = {n: ten[n] for n in names}

    hx = (ten["h0"], ten["c0"]) if kind is torch.nn.LSTM else ten["h0"]
    x = ten["x"]
    if "lengths" in ten:
        x = pack_padded_sequence(
            x, ten["lengths"], batch_first=cfg["batch_first"], enforce_sorted=False
        )
    y, state = torch.func.functional_call(net, params, (x, hx))
    if "lengths" in ten:
        total = ten["x"].shape[1 if cfg["batch_first"] else 0]
        y, _ = pad_packed_sequence(y, batch_first=cfg["batch_first"], total_length=total)
    hn, cn = state if kind is torch.nn.LSTM else (state, None)
    return collect(cfg, ten, y, hn, cn)


def by_hand(cfg, tensors):
    """The same, one row and one step at a time: checks by_torch, and gives the
    smallest |pre-activation| of an rnn cell."""
    ten = leaves(tensors)
    with_states(cfg, ten)
    h, d = cfg["hidden_size"], 1 + cfg["bidirectional"]
    x = ten["x"].transpose(0, 1) if cfg["batch_first"] else ten["x"]
    t, b = x.shape[:2]
    lengths = ten["lengths"].tolist() if "lengths" in ten else [t] * b
    zero = torch.zeros(GATES[cfg["cell"]] * h, dtype=F64)
    margin = math.inf
    rows, hn, cn = [], {}, {}
    for r in range(b):
        seq = [x[s, r] for s in range(lengths[r])]
        for k in range(cfg["num_layers"]):
            outs = []
            for rev in range(d):
                n, suffix = k * d + rev, f"l{k}" + "_reverse" * rev
                w, u = ten[f"weight_ih_{suffix}"], ten[f"weight_hh_{suffix}"]
                bw, bu = ten.get(f"bias_ih_{suffix}", zero), ten.get(f"bias_hh_{suffix}", zero)
                hid = ten["h0"][n, r]
                c = ten["c0"][n, r] if "c0" in ten else None
                out = [None] * len(seq)
                order = range(len(seq))
                for s in reversed(order) if rev else order:
                    a, e = w @ seq[s] + bw, u @ hid + bu
                    if cfg["cell"] == "lstm":
                        i, f, g, o = (a + e).split(h)
                        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                        hid = o.sigmoid() * c.tanh()
                        if cfg["proj_size"]:
                            hid = ten[f"weight_hr_{suffix}"] @ hid
                    elif cfg["cell"] == "gru":
                        (ar, az, an), (er, ez, en) = a.split(h), e.split(h)
                        z = (az + ez).sigmoid()
                        hid = (1 - z) * (an + (ar + er).sigmoid() * en).tanh() + z * hid
                    else:
                        margin = min(margin, (a + e).abs().min().item())
                        hid = (a + e).tanh() if cfg["cell"] == "rnn_tanh" else (a + e).relu()
                    out[s] = hid
                outs.append(out)
                hn[n, r], cn[n, r] = hid, c
            seq = [torch.cat(parts) for parts in zip(*outs)]
        pad = [torch.zeros_like(seq[0])] * (t - len(seq))
        rows.append(torch.stack(seq + pad))
    y = torch.stack(rows, 0 if cfg["batch_first"] else 1)

    def stack(v):
        n = cfg["num_layers"] * d
        return torch.stack([torch.stack([v[i, r] for r in range(b)]) for i in range(n)])

    return collect(cfg, ten, y, stack(hn), stack(cn) if "c0" in ten else None), margin


def recurrent(folder, name, seed, meta, case):
    cfg = DEFAULTS | meta
    for attempt in range(1000):
        tensors = draw_case(cfg, case, seed + 1_000_000 * attempt)
        checked, margin = by_hand(cfg, tensors)
        if cfg["cell"] != "rnn_relu" or margin > RELU_MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed keeps clear of the kink")
    path = folder / f"{name}.case.safetensors"
    write(path, tensors, {"bptt": json.dumps(meta)})
    out = by_torch(cfg, load(path.read_bytes()))
    assert out.keys() == checked.keys(), name
    for key, value in out.items():
        torch.testing.assert_close(value, checked[key], rtol=1e-11, atol=1e-12)
        assert value.abs().max() < 1e3, (name, key)
    write(folder / f"{name}.out.safetensors", out)


def sizes(cell, i, h, **more):
    return {"cell": cell, "input_size": i, "hidden_size": h, **more}


def basic(folder):
    """One direction, no projection, no lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    states = ["h0", "c0", "dhn", "dcn"]
    for c, cell in enumerate(CELLS):
        own = {"lstm": {"proj_size": 0}, "gru": {"reset_after": True}}.get(cell, {})
        # Some spell out the defaults, some leave them to the reader.
        all_keys = {"num_layers": 1, "bidirectional": False, "bias": True, "batch_first": False} | own
        cases = [
            ("small", sizes(cell, 3, 5, **all_keys), dict(T=4, B=2)),
            ("layers2", sizes(cell, 7, 17, num_layers=2, bias=True), dict(T=5, B=3)),
            ("one", sizes(cell, 1, 1), dict(T=3, B=2)),
            ("layers3", sizes(cell, 5, 33, num_layers=3, **own), dict(T=2, B=4, scale=1.0)),
            ("nobias", sizes(cell, 17, 7, bias=False), dict(T=6, B=1)),
            ("nostates", sizes(cell, 3, 4, num_layers=2), dict(T=6, B=5, without=states)),
            ("nody", sizes(cell, 4, 6, bias=True), dict(T=3, B=2, without=["dy", "dhn", "dcn"])),
            ("batchfirst", sizes(cell, 4, 9, batch_first=True), dict(T=3, B=2)),
            ("t1", sizes(cell, 3, 6, num_layers=2), dict(T=1, B=4)),
        ]
        if cell == "lstm":
            cases += [
                ("h0only", sizes(cell, 2, 4), dict(T=3, B=5, without=["c0", "dhn"])),
                ("c0only", sizes(cell, 2, 4), dict(T=3, B=5, without=["h0", "dcn"])),
            ]
        for n, (name, meta, case) in enumerate(cases):
            recurrent(folder, f"{cell}_{name}", 1000 + 100 * c + n, meta, case)


OPTIONS = {
    "bidir": {"bidirectional": True},
    "proj": {"proj_size": 2},
    "layers": {"num_layers": 2},
    "lengths": {},
    "bfirst": {"batch_first": True},
    "nobias": {"bias": False},
}


def options(folder):
    """Each option that basic() lacks, each pair, all at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for c, cell in enumerate(CELLS):
        names = [o for o in OPTIONS if o != "proj" or cell == "lstm"]
        # Lengths out of order, with and without a row as long as T.
        lengths = itertools.cycle([[4, 6, 1], [2, 5, 3], [1, 3, 6], [6, 2, 6], [4, 1, 3]])
        sets = [(o,) for o in names if o in ("bidir", "proj", "lengths")]
        sets += itertools.combinations(names, 2)
        for n, chosen in enumerate(sets):
            meta = sizes(cell, 5, 4)
            for o in chosen:
                meta |= OPTIONS[o]
            case = dict(T=6, B=3)
            if "lengths" in chosen:
                case["lengths"] = next(lengths)
            recurrent(folder, f"{cell}_{'_'.join(chosen)}", 5000 + 100 * c + n, meta, case)
        meta = sizes(cell, 7, 6)
        for o in names:
            meta |= OPTIONS[o]
        recurrent(folder, f"{cell}_all", 5000 + 100 * c + 99, meta, dict(T=5, B=3, lengths=[3, 1, 4]))


# ------------------------------------------------------------------- losses


def losses(path):
    torch.manual_seed(9000)
    out = {}

    def widen(*names):
        return [out[n].to(F64).requires_grad_() for n in names]

    out["mse.input"], out["mse.target"] = normal(5, 3, 7), normal(5, 3, 7)
    for reduction in ["mean", "sum"]:
        x, t = widen("mse.input", "mse.target")
        loss = torch.nn.functional.mse_loss(x, t, reduction=reduction)
        out[f"mse.{reduction}.loss"] = loss.reshape(1)
        (out[f"mse.{reduction}.dinput"],) = torch.autograd.grad(loss, [x])

    # One element that is right, some that are far off.
    errors = torch.tensor([0.0, 0.2, -0.2, 0.74, -0.76, 3.0, -9.0, 0.5])
    out["error.target"] = (uniform(8, bound=2.0) * 16).round() / 16
    out["error.input"] = out["error.target"] + errors
    x, t = widen("error.input", "error.target")
    e = t - x
    for name, loss in [
        ("mae", torch.nn.functional.l1_loss(x, t)),
        ("huber", torch.nn.functional.huber_loss(x, t, delta=0.75)),
        ("quantile", torch.where(e > 0, 0.9 * e, -0.1 * e).mean()),
    ]:
        out[f"{name}.loss"] = loss.reshape(1)
        (out[f"{name}.dinput"],) = torch.autograd.grad(loss, [x], retain_graph=True)

    out["bce.input"] = torch.tensor([0.0, -1.5, 2.5, 40.0, -40.0, 200.0, -200.0, 0.3])
    out["bce.target"] = torch.tensor([0.0, 1.0, 0.25, 1.0, 1.0, 0.0, 0.0, 0.5])
    x, t = widen("bce.input", "bce.target")
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x, t)
    out["bce.loss"] = loss.reshape(1)
    (out["bce.dinput"],) = torch.autograd.grad(loss, [x])

    targets = torch.tensor([3, 0, 4, 1, 1, 2])
    big = (uniform(6, 5, bound=60.0).to(F64) + 1000.0).to(F32)
    for name, logits in [("ce", normal(6, 5, scale=2.0)), ("ce_large", big)]:
        out[f"{name}.logits"], out[f"{name}.targets"] = logits, targets
        (x,) = widen(f"{name}.logits")
        loss = torch.nn.functional.cross_entropy(x, targets)
        out[f"{name}.loss"] = loss.reshape(1)
        (out[f"{name}.dlogits"],) = torch.autograd.grad(loss, [x])

    out["softmax.x"], out["softmax.dy"] = normal(4, 9, scale=2.0), normal(4, 9)
    x, dy = widen("softmax.x", "softmax.dy")
    out["softmax.y"] = x.softmax(-1)
    (out["softmax.dx"],) = torch.autograd.grad(out["softmax.y"], [x], dy)

    out["linear.x"], out["linear.dy"] = normal(3, 4, 5), normal(3, 4, 7)
    out["linear.weight"], out["linear.bias"] = uniform(7, 5), uniform(7)
    x, w, b, dy = widen("linear.x", "linear.weight", "linear.bias", "linear.dy")
    out["linear.y"] = torch.nn.functional.linear(x, w, b)
    grads = torch.autograd.grad(out["linear.y"], [x, w, b], dy)
    out["linear.dx"], out["linear.dweight"], out["linear.dbias"] = grads
    write(path, out)


# --------------------------------------------------------------- optimizers

SGD = {"kind": "SGD", "lr": 0.1}
ADAM = {"kind": "Adam", "lr": 1e-2}
ADAMW = {"kind": "AdamW", "lr": 1e-2}
RMSPROP = {"kind": "RMSprop", "lr": 1e-2}
ADAGRAD = {"kind": "Adagrad", "lr": 0.05}
ADADELTA = {"kind": "Adadelta", "lr": 1.0}
NADAM = {"kind": "NAdam", "lr": 2e-3}
RADAM = {"kind": "RAdam", "lr": 1e-2}
LION = {"kind": "Lion", "lr": 1e-3}
# PyTorch's names and defaults; what is absent is the default.
CONFIGS = {
    "sgd": SGD,
    "sgd_momentum": SGD | {"momentum": 0.9},
    "sgd_nesterov": SGD | {"momentum": 0.9, "nesterov": True},
    "sgd_weight_decay": SGD | {"momentum": 0.9, "weight_decay": 0.05},
    "adam": ADAM,
    "adam_weight_decay": ADAM | {"weight_decay": 0.05},
    "adam_betas": ADAM | {"betas": [0.8, 0.95], "eps": 1e-4},
    "adam_amsgrad": ADAM | {"amsgrad": True, "betas": [0.9, 0.6]},
    "adamw": ADAMW | {"weight_decay": 0.1},
    "adamw_amsgrad": ADAMW | {"amsgrad": True, "betas": [0.9, 0.6], "weight_decay": 0.1},
    "adam_clip": ADAM | {"clip_norm": 0.5},
    "sgd_clip_value": SGD | {"clip_value": 0.3},
    "rmsprop": RMSPROP,
    "rmsprop_all": RMSPROP
    | {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.8, "centered": True},
    "adagrad": ADAGRAD,
    "adagrad_all": ADAGRAD
    | {"lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.2, "eps": 1e-3},
    "adadelta": ADADELTA,
    "adadelta_all": ADADELTA | {"rho": 0.8, "eps": 1e-3, "weight_decay": 0.05, "lr": 0.7},
    "nadam": NADAM,
    "nadam_all": NADAM
    | {"betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.05, "momentum_decay": 0.02},
    "nadam_decoupled": NADAM | {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "radam": RADAM,
    # Divides from the first steps on.
    "radam_all": RADAM | {"betas": [0.8, 0.9], "eps": 1e-4, "weight_decay": 0.05},
    "radam_decoupled": RADAM | {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "lion": LION,
    "lion_all": LION | {"betas": [0.8, 0.95], "weight_decay": 0.1},
}
STEPS = 20


class Lion(torch.optim.Optimizer):
    """The paper's algorithm 2 (Chen et al., 2023, arXiv 2302.06675), which PyTorch does not have."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(beta1 * m + (1 - beta1) * p.grad)
                p.sub_(group["lr"] * (update + group["weight_decay"] * p))
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


def optimizer(cfg, params):
    options = {k: v for k, v in cfg.items() if k not in ["kind", "clip_norm", "clip_value"]}
    if cfg["kind"] == "Lion":
        return Lion(params, **options)
    return getattr(torch.optim, cfg["kind"])(params, foreach=False, **options)


def optimizers(path):
    torch.manual_seed(9500)
    shapes = [(7, 3), (5,)]
    out = {f"p.{n}": normal(*shape) for n, shape in enumerate(shapes)}
    # Both sides of the clipping norm, and an element whose gradient stays 0.
    scales = [1.0, 0.3, 0.03, 2.0, 0.06, 0.5]
    for k in range(STEPS):
        scale = scales[k % len(scales)]
        for n, shape in enumerate(shapes):
            g = normal(*shape, scale=scale)
            if n == 1:
                g[2] = 0.0
            out[f"g.{k}.{n}"] = g
    norms = []
    for name, cfg in CONFIGS.items():
        params = [out[f"p.{n}"].to(F64).requires_grad_() for n in range(len(shapes))]
        opt = optimizer(cfg, params)
        for k in range(STEPS):
            for n, p in enumerate(params):
                p.grad = out[f"g.{k}.{n}"].to(F64)
            if "clip_norm" in cfg:
                norm = torch.nn.utils.clip_grad_norm_(params, cfg["clip_norm"], foreach=False)
                out[f"{name}.{k}.norm"] = norm.reshape(1).clone()
                norms.append(norm.item())
            if "clip_value" in cfg:
                torch.nn.utils.clip_grad_value_(params, cfg["clip_value"], foreach=False)
            opt.step()
            for n, p in enumerate(params):
                out[f"{name}.{k}.{n}"] = p.detach().clone()
    assert min(norms) < 0.4 and max(norms) > 0.6, norms
    write(path, out, {"configs": json.dumps(CONFIGS)})


# ---------------------------------------------------------------- schedules

# What each is by PyTorch's names; WarmupCosine is that of the `transformers` package, by its formula.
SCHEDULES = {
    "step": {"kind": "StepLR", "step_size": 7, "gamma": 0.5},
    "exponential": {"kind": "ExponentialLR", "gamma": 0.9},
    "cosine": {"kind": "CosineAnnealingLR", "T_max": 13, "eta_min": 0.004},
    "restarts": {"kind": "CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 2, "eta_min": 0.004},
    "restarts_same": {"kind": "CosineAnnealingWarmRestarts", "T_0": 6},
    "one_cycle": {"kind": "OneCycleLR", "max_lr": 0.3, "total_steps": 40},
    "one_cycle_all": {
        "kind": "OneCycleLR", "max_lr": 0.3, "total_steps": 40,
        "pct_start": 0.15, "div_factor": 5.0, "final_div_factor": 50.0,
    },
    "warmup_cosine": {"kind": "WarmupCosine", "warmup_steps": 6, "total_steps": 33},
}
RATES = [0.1, 0.02]
LOSSES = [5.0, 4.0, 4.0, 4.1, 3.9999, 4.2, 4.0, 3.5, 3.6, 3.6, 3.6, 3.6, 3.7, 3.6, 3.6, 3.6, 3.5]
PLATEAU = {"factor": 0.3, "patience": 2, "threshold": 1e-3, "cooldown": 1, "min_lr": 0.0015}


def warmup_cosine(cfg, opt):
    def factor(step):
        if step < cfg["warmup_steps"]:
            return step / cfg["warmup_steps"]
        done = (step - cfg["warmup_steps"]) / (cfg["total_steps"] - cfg["warmup_steps"])
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done))) if done < 1 else 0.0

    return torch.optim.lr_scheduler.LambdaLR(opt, factor)


def schedules(path):
    def groups():
        weight = lambda: torch.zeros(1, requires_grad=True)
        return torch.optim.SGD([{"params": [weight()], "lr": rate} for rate in RATES])

    def rates(opt):
        return torch.tensor([group["lr"] for group in opt.param_groups], dtype=F64)

    out = {}
    for name, cfg in SCHEDULES.items():
        opt, options = groups(), {k: v for k, v in cfg.items() if k != "kind"}
        if cfg["kind"] == "OneCycleLR":
            options["cycle_momentum"] = False
        if cfg["kind"] == "WarmupCosine":
            schedule = warmup_cosine(cfg, opt)
        else:
            schedule = getattr(torch.optim.lr_scheduler, cfg["kind"])(opt, **options)
        steps = []
        for _ in range(40):
            steps.append(rates(opt))
            opt.step()
            if len(steps) < 40:
                schedule.step()
        out[name] = torch.stack(steps)
    opt = groups()
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, eps=0.0, **PLATEAU)
    epochs = []
    for loss in LOSSES:
        schedule.step(loss)
        epochs.append(rates(opt))
    out["plateau"], out["plateau.losses"] = torch.stack(epochs), torch.tensor(LOSSES, dtype=F64)
    write(path, out, {"schedules": json.dumps(SCHEDULES), "plateau": json.dumps(PLATEAU)})


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    root.mkdir(parents=True, exist_ok=True)
    basic(root / "recurrent")
    options(root / "recurrent_options")
    losses(root / "losses.safetensors")
    optimizers(root / "optimizers.safetensors")
    schedules(root / "schedules.safetensors")


if __name__ == "__main__":
    main()
