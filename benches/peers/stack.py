"""A workload in PyTorch, for reference.py and torch_peer.py."""

import torch

from workloads import lengths

CELLS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def stack(workload):
    both = workload.directions == 2
    return CELLS[workload.cell](workload.inputs, workload.hidden, workload.layers, bidirectional=both)


def sequences(workload):
    """Random x [T, B, I] and target [T, B, D H]."""
    shape, width = (workload.steps, workload.batch), workload.directions * workload.hidden
    return torch.randn(*shape, workload.inputs), torch.randn(*shape, width)


def forward(workload, net, x):
    """y [T, B, D H], zeros past each row's end."""
    steps = lengths(workload)
    if steps is None:
        return net(x)[0]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(steps, device="cpu"), enforce_sorted=False)
    return torch.nn.utils.rnn.pad_packed_sequence(net(packed)[0], total_length=workload.steps)[0]


def loss(workload, y, target):
    """The mean squared error over the steps that rows have."""
    steps = lengths(workload)
    if steps is None:
        return torch.nn.functional.mse_loss(y, target)
    t = torch.arange(workload.steps, device=y.device)[:, None]
    valid = (t < torch.tensor(steps, device=y.device))[:, :, None]
    return ((y - target).square() * valid).sum() / (sum(steps) * y.shape[2])
