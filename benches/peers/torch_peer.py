"""PyTorch: python torch_peer.py [--device cpu|cuda] [WORKLOAD [CELL [PHASE]]]; RAYON_NUM_THREADS sets its threads, as it does ours."""

import torch
from safetensors.torch import load_file

from stack import forward, loss, sequences, stack
from workloads import REFERENCE, TINY, check, device, measure, peak_memory, resident, threads, wanted, workloads

torch.set_num_threads(threads())
# f32 as ours is: cuDNN would take TF32, of 10 bits.
torch.backends.cudnn.allow_tf32 = False
torch.set_default_device(device())


def drain():
    if device() == "cuda":
        torch.cuda.synchronize()


def trainer(workload, net, x, target):
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def train():
        adam.zero_grad()
        loss(workload, forward(workload, net, x), target).backward()
        adam.step()
        drain()

    return train


def own(workload):
    """A training step with weights and numbers of its own."""
    return trainer(workload, stack(workload), *sequences(workload))


for workload in workloads():
    if wanted("memory"):
        own(TINY)()
        before = resident()[0]
        peak_memory("torch", workload, before, own(workload))
        continue
    reference = load_file(REFERENCE / f"{workload.name}_{workload.cell}.safetensors", device=device())
    net = stack(workload)
    net.load_state_dict({name: reference[name] for name, _ in net.named_parameters()})
    x = reference["x"]

    def infer():
        with torch.inference_mode():
            y = forward(workload, net, x)
        drain()
        return y

    def compare(y):
        check("torch", workload, "y", y.cpu(), reference["y"].cpu())

    def compare_gradients(_):
        for name, parameter in net.named_parameters():
            check("torch", workload, f"grad.{name}", parameter.grad.cpu(), reference[f"grad.{name}"].cpu())

    if wanted("infer"):
        measure("torch", workload, "infer", infer, compare)
    if wanted("train"):
        measure("torch", workload, "train", trainer(workload, net, x, reference["target"]), compare_gradients)
