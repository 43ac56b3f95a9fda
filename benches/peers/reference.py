"""Writes what answers are compared with: python reference.py [WORKLOAD [CELL]].

For each workload, REFERENCE/W_cell.safetensors with x, target, PyTorch's weights, its output y and the gradients of a training step, computed
in f64 and kept as f32. What is there already stays.
"""

import pathlib
import tempfile

import torch
from safetensors.torch import save_file

from stack import forward, loss, sequences, stack
from workloads import REFERENCE, workloads

REFERENCE.mkdir(parents=True, exist_ok=True)
for workload in workloads():
    path = REFERENCE / f"{workload.name}_{workload.cell}.safetensors"
    if path.exists():
        continue
    torch.manual_seed(1)
    # Drawn in f32, so that the peers' weights are these exactly.
    net = stack(workload).double()
    x, target = sequences(workload)
    y = forward(workload, net, x.double())
    loss(workload, y, target.double()).backward()
    tensors = {"x": x, "target": target, "y": y.detach()}
    for key, parameter in net.named_parameters():
        tensors |= {key: parameter.detach(), f"grad.{key}": parameter.grad}
    # Whole or not at all.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = pathlib.Path(folder) / path.name
        save_file({key: tensor.float().contiguous() for key, tensor in tensors.items()}, draft)
        draft.replace(path)
