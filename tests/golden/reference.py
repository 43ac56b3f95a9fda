"""One recurrent stack, step by step in float64: everything a case file can say. See README.md.

    import reference
    out = reference.run(cfg, tensors)

`cfg` is the JSON under a case's metadata key `bptt`, `tensors` are the case's; the result holds
OUT's. Nothing here uses torch.nn: the cells are written as equations, one time step after another
for all rows of the batch, and autograd differentiates them. [T, B, …] is time-major throughout;
H is the width of the cell, P that of h (H without `proj_size`), D the directions, G the gates.
"""

import math

import numpy
import torch

F32, F64 = torch.float32, torch.float64
CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}

# What torch.nn has, and tests/golden/generate.py.
PLAIN = {
    "num_layers": 1,
    "bidirectional": False,
    "bias": True,  # or "one": only bias_ih
    "batch_first": False,
    "proj_size": 0,
}
FURTHER = {
    "reset_after": True,
    "activations": None,
    "clip": None,
    "cell_clip": None,
    "peepholes": False,
    "input_forget": False,
    "skip_input": False,
    "zoneout": [0.0, 0.0],  # h, c; without `train` too
}
# In effect only with `train`.
DROPPED = {
    "dropout": 0.0,
    "input_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "weight_dropout": 0.0,
}
DEFAULTS = PLAIN | FURTHER | DROPPED | {"train": None}
SIZES = ["cell", "input_size", "hidden_size"]
# Keys that only one cell has.
OWN = {
    "reset_after": "gru",
    "proj_size": "lstm",
    "cell_clip": "lstm",
    "peepholes": "lstm",
    "input_forget": "lstm",
}


# -------------------------------------------------------------- configuration


def check(cfg):
    """A key or value without a meaning is an error, not ignored."""
    for key in cfg:
        if key not in DEFAULTS and key not in SIZES:
            raise ValueError(f"{key}: no such key")
    for key in SIZES:
        if key not in cfg:
            raise ValueError(f"{key}: missing")
    cell, full = cfg["cell"], DEFAULTS | cfg
    if cell not in CELLS:
        raise ValueError(f"cell: {cell}, expected one of {CELLS}")
    for key, owner in OWN.items():
        if full[key] != DEFAULTS[key] and cell != owner:
            raise ValueError(f"{key}: only {owner} has it")
    if full["bias"] not in (True, False, "one"):
        raise ValueError(f"bias: {full['bias']}")
    if full["skip_input"] and cfg["input_size"] != cfg["hidden_size"]:
        raise ValueError("skip_input: input_size must equal hidden_size")
    if full["activations"] is not None:
        if cell == "rnn_relu":
            raise ValueError("activations: the cell is rnn_tanh, lstm or gru")
        if len(full["activations"]) != len(USUAL[cell]):
            raise ValueError(f"activations: {cell} has {len(USUAL[cell])}")
    for key in ["clip", "cell_clip"]:
        if full[key] is not None and not full[key] > 0:
            raise ValueError(f"{key}: {full[key]}")
    for p in [full[key] for key in DROPPED] + full["zoneout"]:
        if not 0 <= p < 1:
            raise ValueError(f"a probability of {p}")
    return full


def plain(cfg):
    """Whether torch.nn has it (dropout without `train` is off, so it does not count)."""
    cfg = DEFAULTS | cfg
    if cfg["activations"] == USUAL[cfg["cell"]]:
        cfg["activations"] = None
    return (
        all(cfg[key] == off for key, off in FURTHER.items())
        and cfg["bias"] != "one"
        and (cfg["train"] is None or not any(cfg[key] for key in DROPPED))
    )


def weight_shapes(cfg):
    cfg = check(cfg)
    g, h, p = GATES[cfg["cell"]], cfg["hidden_size"], cfg["proj_size"]
    d, s = 1 + cfg["bidirectional"], p or h
    shapes = {}
    for k in range(cfg["num_layers"]):
        i = cfg["input_size"] if k == 0 else d * s
        for suffix in [f"l{k}", f"l{k}_reverse"][:d]:
            if k > 0 or not cfg["skip_input"]:
                shapes[f"weight_ih_{suffix}"] = (g * h, i)
            shapes[f"weight_hh_{suffix}"] = (g * h, s)
            if cfg["bias"]:
                shapes[f"bias_ih_{suffix}"] = (g * h,)
            if cfg["bias"] is True:
                shapes[f"bias_hh_{suffix}"] = (g * h,)
            if p:
                shapes[f"weight_hr_{suffix}"] = (p, h)
            if cfg["peepholes"]:
                shapes[f"weight_diag_{suffix}"] = (3 * h,)
    return shapes


def draw(cfg, t, b, seed, lengths=None, without=(), scale=1.5):
    """A case's tensors: float32, drawn in float64."""
    full, generator = check(cfg), torch.Generator().manual_seed(seed)
    h, s = full["hidden_size"], full["proj_size"] or full["hidden_size"]
    d = 1 + full["bidirectional"]
    lead = (b, t) if full["batch_first"] else (t, b)
    states = (full["num_layers"] * d, b)
    bound = scale / math.sqrt(h)

    def uniform(*shape):
        u = torch.rand(*shape, dtype=F64, generator=generator)
        return ((u * 2 - 1) * bound).to(F32)

    def normal(*shape, scale=1.0):
        return (torch.randn(*shape, dtype=F64, generator=generator) * scale).to(F32)

    out = {name: uniform(*shape) for name, shape in weight_shapes(cfg).items()}
    out["x"] = normal(*lead, full["input_size"])
    out["h0"] = normal(*states, s, scale=0.5)
    out["dy"] = normal(*lead, d * s)
    out["dhn"] = normal(*states, s)
    if full["cell"] == "lstm":
        out["c0"] = normal(*states, h, scale=0.5)
        out["dcn"] = normal(*states, h)
    for name in without:
        out.pop(name, None)
    if lengths is not None:
        out["lengths"] = torch.tensor(lengths, dtype=torch.int64)
    return out


# ---------------------------------------------------------------- activations

# f(x, alpha, beta); alpha and beta when the case has none; where f or its derivative jumps.
ACTIVATIONS = {
    "sigmoid": (lambda x, a, b: x.sigmoid(), 0, 0, lambda a, b: []),
    "tanh": (lambda x, a, b: x.tanh(), 0, 0, lambda a, b: []),
    "relu": (lambda x, a, b: x.relu(), 0, 0, lambda a, b: [0]),
    "hard_sigmoid": (
        lambda x, a, b: (a * x + b).clamp(0, 1),
        0.2,
        0.5,
        lambda a, b: [-b / a, (1 - b) / a],
    ),
    "softsign": (lambda x, a, b: x / (1 + x.abs()), 0, 0, lambda a, b: []),
    "leaky_relu": (
        lambda x, a, b: torch.where(x < 0, a * x, x),
        0.01,
        0,
        lambda a, b: [0] if a != 1 else [],
    ),
    # The clamp keeps the branch not taken finite, for the gradient.
    "elu": (
        lambda x, a, b: torch.where(x < 0, a * x.clamp(max=0).expm1(), x),
        1.0,
        0,
        lambda a, b: [0] if a != 1 else [],
    ),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0, lambda a, b: []),
    "scaled_tanh": (lambda x, a, b: a * (b * x).tanh(), 1.0, 1.0, lambda a, b: []),
    "thresholded_relu": (
        lambda x, a, b: torch.where(x > a, x, torch.zeros_like(x)),
        1.0,
        0,
        lambda a, b: [a],
    ),
    "softplus": (lambda x, a, b: torch.logaddexp(x, torch.zeros_like(x)), 0, 0, lambda a, b: []),
}
USUAL = {
    "rnn_tanh": ["tanh"],
    "rnn_relu": ["relu"],
    "gru": ["sigmoid", "sigmoid", "tanh"],  # r, z, n
    "lstm": ["sigmoid", "sigmoid", "tanh", "sigmoid", "tanh"],  # i, f, g, o, and c on its way out
}


def activation(item):
    """(f, kinks) of a name, or of {"name", "alpha", "beta"}."""
    item = {"name": item} if isinstance(item, str) else item
    if item["name"] not in ACTIVATIONS or item.keys() - {"name", "alpha", "beta"}:
        raise ValueError(f"activations: {item}")
    f, alpha, beta, kinks = ACTIVATIONS[item["name"]]
    alpha, beta = item.get("alpha", alpha), item.get("beta", beta)
    return (lambda x: f(x, alpha, beta)), kinks(alpha, beta)


class Margin:
    """The smallest distance of any value from a kink of what is done to it."""

    def __init__(self):
        self.least = math.inf

    def see(self, values, active, kinks):
        for kink in kinks if active.any() else []:
            distance = (values.detach()[active] - kink).abs().min().item()
            self.least = min(self.least, distance)


# ---------------------------------------------------------------------- masks

# Kinds of mask; a mask's site is layer * 8 + kind.
BETWEEN, INPUT, RECURRENT, ZONEOUT, WEIGHT = range(5)


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): uint64 arrays of 32-bit words, [N, 4] and [2]."""
    low, half = numpy.uint64(0xFFFFFFFF), numpy.uint64(32)
    c0, c1, c2, c3 = (counter[:, n].astype(numpy.uint64) for n in range(4))
    k0, k1 = (int(k) for k in key)
    for _ in range(10):
        p0, p1 = c0 * numpy.uint64(0xD2511F53), c2 * numpy.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> half) ^ c1 ^ numpy.uint64(k0),
            p1 & low,
            (p0 >> half) ^ c3 ^ numpy.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return numpy.stack([c0, c1, c2, c3], 1)


def check_philox():
    """The known answers that Random123 publishes."""
    ones = 0xFFFFFFFF
    for counter, key, answer in [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, [ones] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ]:
        found = philox(numpy.array([counter], numpy.uint64), key)
        assert found.tolist() == [answer], found


check_philox()


def words(train, layer, kind, blocks):
    """Four random words for each block: [blocks, 4]."""
    low = 0xFFFFFFFF
    counter = numpy.zeros((blocks, 4), numpy.uint64)
    counter[:, 0] = numpy.arange(blocks)
    counter[:, 1] = layer * 8 + kind
    counter[:, 2], counter[:, 3] = train["step"] & low, train["step"] >> 32
    return philox(counter, [train["seed"] & low, train["seed"] >> 32])


def threshold(p):
    """A word below it has probability p."""
    return numpy.uint64(math.floor(p * 2**32))


def dropping(cfg, key, layer, kind, shape, dtype):
    """A mask of `shape`: 0 with probability p, else 1/(1-p); ones where nothing is dropped."""
    p, size = cfg[key], math.prod(shape)
    if cfg["train"] is None or p == 0:
        return torch.ones(shape, dtype=dtype)
    # Element i is word i mod 4 of block i div 4.
    found = words(cfg["train"], layer, kind, -(-size // 4)).reshape(-1)[:size]
    return torch.from_numpy(found >= threshold(p)).reshape(shape).to(dtype) / (1 - p)


def zoning(cfg, layer, state, shape, dtype):
    """Zoneout's mask, [D, T, B, width]: 1 where the computed state is taken. `state` 0: h, 1: c."""
    found = words(cfg["train"], layer, ZONEOUT, math.prod(shape))[:, state]
    return torch.from_numpy(found >= threshold(cfg["zoneout"][state])).reshape(shape).to(dtype)


# ---------------------------------------------------------------------- cells


class Direction:
    """One layer in one direction. W and R are the products, by gate; the cells are below them."""

    def __init__(self, cfg, ten, k, d, x, margin):
        self.cfg, self.margin = cfg, margin
        self.t, self.b = x.shape[:2]
        self.hidden = h = cfg["hidden_size"]
        g, p = GATES[cfg["cell"]], cfg["proj_size"] or h
        directions, suffix, dtype = 1 + cfg["bidirectional"], f"l{k}" + "_reverse" * d, x.dtype
        zero = torch.zeros(g * h, dtype=dtype)
        bias_ih = ten.get(f"bias_ih_{suffix}", zero).split(h)
        self.bias_hh = ten.get(f"bias_hh_{suffix}", zero).split(h)
        if k == 0 and cfg["skip_input"]:
            self.wx = [x + bias for bias in bias_ih]
        else:
            weight_ih = ten[f"weight_ih_{suffix}"].split(h)
            self.wx = [x @ weight.T + bias for weight, bias in zip(weight_ih, bias_ih)]
        kept = dropping(cfg, "weight_dropout", k, WEIGHT, (directions, g * h, p), dtype)[d]
        self.weight_hh = (kept * ten[f"weight_hh_{suffix}"]).split(h)
        self.weight_hr = ten.get(f"weight_hr_{suffix}")
        peepholes = torch.zeros(3 * h, dtype=dtype)
        self.peepholes = ten.get(f"weight_diag_{suffix}", peepholes).split(h)
        # [G, B, P]
        shape = (directions, self.b, g, p)
        self.kept = dropping(cfg, "recurrent_dropout", k, RECURRENT, shape, dtype)[d].transpose(0, 1)
        self.zones = None
        if cfg["train"] is not None and any(cfg["zoneout"]):
            widths = enumerate([p, h] if cfg["cell"] == "lstm" else [p])
            shape = (directions, self.t, self.b)
            self.zones = [zoning(cfg, k, n, (*shape, width), dtype)[d] for n, width in widths]
        self.activations = [activation(a) for a in cfg["activations"] or USUAL[cfg["cell"]]]

    def W(self, gate, t):
        """W x + b_W"""
        return self.wx[gate][t]

    def R(self, gate, h):
        """R h + b_R"""
        return (self.kept[gate] * h) @ self.weight_hh[gate].T + self.bias_hh[gate]

    def clamp(self, a, limit):
        if limit is None:
            return a
        self.margin.see(a, self.active, [-limit, limit])
        return a.clamp(-limit, limit)

    def act(self, slot, a, clip=True):
        if clip:
            a = self.clamp(a, self.cfg["clip"])
        f, kinks = self.activations[slot]
        self.margin.see(a, self.active, kinks)
        return f(a)

    def rnn(self, t, h, _):
        return self.act(0, self.W(0, t) + self.R(0, h)), None

    def gru(self, t, h, _):
        W, R, act = self.W, self.R, self.act
        r = act(0, W(0, t) + R(0, h))
        z = act(1, W(1, t) + R(1, h))
        if self.cfg["reset_after"]:
            n = act(2, W(2, t) + r * R(2, h))
        else:
            n = act(2, W(2, t) + R(2, r * h))
        return (1 - z) * n + z * h, None

    def lstm(self, t, h, c):
        W, R, act = self.W, self.R, self.act
        P_i, P_f, P_o = self.peepholes
        i = act(0, W(0, t) + R(0, h) + P_i * c)
        f = 1 - i if self.cfg["input_forget"] else act(1, W(1, t) + R(1, h) + P_f * c)
        g = act(2, W(2, t) + R(2, h))
        c = self.clamp(f * c + i * g, self.cfg["cell_clip"])
        o = act(3, W(3, t) + R(3, h) + P_o * c)
        h = o * act(4, c, clip=False)
        return h if self.weight_hr is None else h @ self.weight_hr.T, c

    def zone_out(self, t, state, old, new):
        if self.zones is not None:
            return old + self.zones[state][t] * (new - old)
        p = self.cfg["zoneout"][state]
        return p * old + (1 - p) * new if p else new

    def run(self, d, active, h, c):
        """y [T, B, P], and h and c after each row's last step. `active` is [T, B]: t < length."""
        cell = {"lstm": self.lstm, "gru": self.gru}.get(self.cfg["cell"], self.rnn)
        y = [None] * self.t
        for t in reversed(range(self.t)) if d else range(self.t):
            self.active = active[t]
            on = active[t][:, None]
            h_new, c_new = cell(t, h, c)
            h = torch.where(on, self.zone_out(t, 0, h, h_new), h)
            if c is not None:
                c = torch.where(on, self.zone_out(t, 1, c, c_new), c)
            y[t] = torch.where(on, h, torch.zeros_like(h))
        return torch.stack(y), h, c


# ---------------------------------------------------------------------- stack


def evaluate(cfg, tensors, dtype=F64, gradients=True):
    """OUT's tensors, and the smallest distance from a kink of an activation or a clip."""
    shapes, cfg = weight_shapes(cfg), check(cfg)
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name}: {tuple(tensors[name].shape)}, expected {shape}")
    gradients = gradients and "dy" in tensors
    ten = {
        k: v.to(dtype).requires_grad_(gradients and not k.startswith("d"))
        for k, v in tensors.items()
        if k != "lengths"
    }
    x = ten["x"].transpose(0, 1) if cfg["batch_first"] else ten["x"]
    t, b = x.shape[:2]
    layers, directions = cfg["num_layers"], 1 + cfg["bidirectional"]
    widths = {"h0": cfg["proj_size"] or cfg["hidden_size"]}
    if cfg["cell"] == "lstm":
        widths["c0"] = cfg["hidden_size"]
    for name, width in widths.items():
        if name not in ten:
            zeros = torch.zeros(layers * directions, b, width, dtype=dtype)
            ten[name] = zeros.requires_grad_(gradients)

    lengths = tensors.get("lengths", torch.full((b,), t))
    active = torch.arange(t)[:, None] < lengths
    margin = Margin()
    x = torch.where(active[..., None], x, torch.zeros_like(x))
    hn, cn = [], []
    for k in range(layers):
        x = x * dropping(cfg, "input_dropout", k, INPUT, x.shape[1:], dtype)
        outputs = []
        for d in range(directions):
            n = k * directions + d
            c = ten["c0"][n] if "c0" in widths else None
            y, h, c = Direction(cfg, ten, k, d, x, margin).run(d, active, ten["h0"][n], c)
            outputs.append(y)
            hn.append(h)
            cn.append(c)
        x = torch.cat(outputs, -1)
        if k + 1 < layers:
            x = x * dropping(cfg, "dropout", k, BETWEEN, x.shape, dtype)

    out = {"y": x.transpose(0, 1) if cfg["batch_first"] else x, "hn": torch.stack(hn)}
    if "c0" in widths:
        out["cn"] = torch.stack(cn)
    if gradients:
        wanted = {name: f"d{name}" for name in ["x", *widths]}
        wanted |= {name: f"d.{name}" for name in shapes}
        grads = torch.autograd.grad(loss(out, ten), [ten[name] for name in wanted])
        out |= dict(zip(wanted.values(), grads))
    return {k: v.detach() for k, v in out.items()}, margin.least


def loss(out, ten):
    """<y, dy> + <hn, dhn> + <cn, dcn>, whose gradients OUT has."""
    return sum((out[name[1:]] * ten[name]).sum() for name in ["dy", "dhn", "dcn"] if name in ten)


def run(cfg, tensors):
    return evaluate(cfg, tensors)[0]
