"""PyTorch: python torch_peer.py [--device cpu|cuda] [WORKLOAD [CELL]]; RAYON_NUM_THREADS sets its threads, as it does ours."""

import torch

from workloads import device, measure, threads, wanted

torch.set_num_threads(threads())
torch.manual_seed(1)
# f32 as ours is: cuDNN would take TF32, of 10 bits.
torch.backends.cudnn.allow_tf32 = False
torch.set_default_device(device())
CELLS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def drain():
    if device() == "cuda":
        torch.cuda.synchronize()


for workload in wanted():
    _, cell, inputs, hidden, steps, batch = workload
    net = CELLS[cell](inputs, hidden)
    x, target = torch.randn(steps, batch, inputs), torch.randn(steps, batch, hidden)

    def infer():
        with torch.inference_mode():
            net(x)
        drain()

    measure("torch", workload, "infer", infer)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def train():
        adam.zero_grad()
        torch.nn.functional.mse_loss(net(x)[0], target).backward()
        adam.step()
        drain()

    measure("torch", workload, "train", train)
