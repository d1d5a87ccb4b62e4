"""A training step of resnet18 and airbench beside PyTorch, in CPU seconds of one core for each record.

    python benchmarks/image_networks.py airbench torch 50
    python benchmarks/image_networks.py airbench ours 50
    python benchmarks/image_networks.py resnet18 ours 16

Seconds of the processor, not of the clock, so that others' work on the machine counts for little. Ours trains two
networks at once, as shadows are trained on CPUs; PyTorch one, in one thread, channels last. SGD with Nesterov momentum.
"""

import itertools
import os
import sys
import time

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import numpy as np

STEPS = 2


def data(b):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (STEPS * b, 32, 32, 3), dtype=np.uint8)
    return x, rng.integers(0, 10, len(x)).astype(np.int32)


def torch_network(name):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, i, o, strides):
            super().__init__()
            self.inner = nn.Sequential(
                nn.Conv2d(i, o, 3, strides, 1, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(),
                nn.Conv2d(o, o, 3, 1, 1, bias=False),
                nn.BatchNorm2d(o),
            )
            same = strides == 1 and i == o
            projection = nn.Sequential(nn.Conv2d(i, o, 1, strides, bias=False), nn.BatchNorm2d(o))
            self.shortcut = nn.Identity() if same else projection

        def forward(self, x):
            return torch.relu(self.inner(x) + self.shortcut(x))

    if name == "resnet18":
        widths = (64, 64, 128, 256, 512)
        blocks = [
            Block(i if first else o, o, 2 if first and i != o else 1)
            for i, o in itertools.pairwise(widths)
            for first in (True, False)
        ]
        stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    layers = [nn.Conv2d(3, 24, 2).requires_grad_(False), nn.GELU(approximate="tanh")]
    for i, o in ((24, 64), (64, 256), (256, 256)):
        layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(o)]
        layers += [nn.GELU(approximate="tanh"), nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o)]
        layers += [nn.GELU(approximate="tanh")]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(256, 10, bias=False))


def torch_step(name, b):
    """A function that takes STEPS steps, and how many records they learn from."""
    import torch

    torch.set_num_threads(1)
    model = torch_network(name).to(memory_format=torch.channels_last)
    x, y = data(b)
    x = torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2).div(255).contiguous(memory_format=torch.channels_last)
    y = torch.tensor(y, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)

    def steps():
        for first in range(0, len(x), b):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[first : first + b]), y[first : first + b]).backward()
            optimizer.step()

    return steps, len(x)


def our_step(name, b):
    import jax
    import optax

    from mia_jax.models import networks
    from mia_jax.training import parallel, single
    from mia_jax.types import Field, Records, Schema

    schema = Schema("random", "local", "", 10, (32, 32, 3), (Field("x", "pixel", 0, 3072, 0.0, 255.0),))
    trainer = single.make_trainer(networks.build(name, schema), optax.sgd(0.1, momentum=0.9, nesterov=True), b)
    pool = Records(*data(b))
    index = np.tile(np.arange(len(pool.y), dtype=np.int32), (parallel.LANES, 1))
    keys = jax.random.split(jax.random.key(0), parallel.LANES)
    states = [parallel.program(trainer.init, (0, None))(keys, pool.x[:1])]
    epoch = parallel.program(trainer.epoch, (0, None, 0), donate=(0,))

    def steps():
        states[0], info = epoch(states[0], pool, index)
        jax.block_until_ready(info)

    return steps, index.size


def main():
    name, who, b = sys.argv[1], sys.argv[2], int(sys.argv[3])
    steps, records = {"ours": our_step, "torch": torch_step}[who](name, b)
    steps()
    times = []
    for _ in range(3):
        began = time.process_time()
        steps()
        times.append((time.process_time() - began) / records)
    print(f"{name}, {who}, batches of {b}: {1e3 * min(times):.1f} to {1e3 * max(times):.1f} CPU ms for each record")


if __name__ == "__main__":
    main()
