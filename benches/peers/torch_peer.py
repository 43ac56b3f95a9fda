"""PyTorch on the CPU: python torch_peer.py [WORKLOAD [CELL]]; RAYON_NUM_THREADS sets its threads, as it does ours."""

import torch

from workloads import measure, threads, wanted

torch.set_num_threads(threads())
torch.manual_seed(1)
CELLS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}

for workload in wanted():
    _, cell, inputs, hidden, steps, batch = workload
    net = CELLS[cell](inputs, hidden)
    x, target = torch.randn(steps, batch, inputs), torch.randn(steps, batch, hidden)

    def infer():
        with torch.inference_mode():
            net(x)

    measure("torch", workload, "infer", infer)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def train():
        adam.zero_grad()
        torch.nn.functional.mse_loss(net(x)[0], target).backward()
        adam.step()

    measure("torch", workload, "train", train)
