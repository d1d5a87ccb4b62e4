"""Shadow training beside a PyTorch loop, a plain vmap over flax, and the matmul rate of the machine, in one run.

    pip install torch                                # optional: the PyTorch rows
    python benchmarks/shadow_training.py             # Purchase and CIFAR networks, about five minutes

Everything in a table takes turns, and medians over the turns are told with the best turn beside them: what else the
machine does hits all of them. PyTorch gets float32 tensors that lie in memory and no DataLoader. It runs as a loop with
all threads, and as one process of one thread per core; each with its defaults and tuned (fused Adam, channels last).
"""

import argparse
import contextlib
import functools
import multiprocessing
import statistics
import time

import numpy as np

BATCH = 100
PURCHASE = dict(name="Purchase network 600-128-100", shape=(600,), classes=100, records=10_000, models=16)
CIFAR = dict(
    name="CIFAR network, 2 x (5x5 convolution of 32, pooling), 128",
    shape=(32, 32, 3),
    classes=10,
    records=1_000,
    models=4,
)


def flops(net):
    """Of one epoch of one network: three matmuls per layer, without the gradient with respect to the input records.

    A multiplication and an addition are two operations; activations, losses and Adam are not counted.
    """
    if len(net["shape"]) == 1:
        layers = [net["shape"][0] * 128, 128 * net["classes"]]
    else:
        layers = [32 * 32 * 75 * 32, 16 * 16 * 800 * 32, 2048 * 128, 128 * net["classes"]]
    return net["records"] * (6 * sum(layers) - 2 * layers[0])


def data(net, seed=0):
    rng = np.random.default_rng(seed)
    top = 2 if len(net["shape"]) == 1 else 256
    x = rng.integers(0, top, (2 * net["records"], *net["shape"]), dtype=np.uint8)
    return x, rng.integers(0, net["classes"], len(x)).astype(np.int32)


# --- contenders: each returns a function that trains a little and says how many model-epochs that was ---------------


def ours(net, chunk):
    import jax
    import optax

    from mia_jax.models import networks as models
    from mia_jax.training import many, parallel, single
    from mia_jax.types import Records

    model = models.mlp(net["classes"]) if len(net["shape"]) == 1 else models.cnn(net["classes"])
    trainer = single.make_trainer(model, optax.adam(1e-3), BATCH)
    pool = parallel.replicate(Records(*data(net)))
    keys = jax.random.split(jax.random.key(0), net["models"])
    rng = np.random.default_rng(1)
    index = np.stack([rng.permutation(2 * net["records"])[: net["records"]] for _ in range(net["models"])])

    def turn(epochs=2):
        many.fit_many(trainer, keys, pool, index, epochs, chunk=chunk)
        return net["models"] * epochs

    return turn


def naive(net, models=2, records=200):
    """What one writes first: flax's own layers under vmap, steps in scan, one device. Cut small: convolutions crawl."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            if x.ndim == 4:
                for _ in range(2):
                    x = nn.max_pool(jnp.tanh(nn.Conv(32, (5, 5))(x)), (2, 2), (2, 2))
            x = jnp.tanh(nn.Dense(128)(x.reshape(len(x), -1)))
            return nn.Dense(net["classes"])(x)

    x, y = (
        jnp.asarray(a[: models * records].reshape(models, records // BATCH, BATCH, *a.shape[1:])) for a in data(net)
    )
    module, optimizer = Net(), optax.adam(1e-3)

    def init(key):
        params = module.init(key, jnp.zeros((1, *net["shape"])))
        return params, optimizer.init(params)

    def step(state, batch):
        params, opt_state = state
        xb, yb = batch

        def objective(params):
            logits = module.apply(params, xb.astype(jnp.float32))
            return optax.softmax_cross_entropy_with_integer_labels(logits, yb).mean()

        updates, opt_state = optimizer.update(jax.grad(objective)(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    epoch = jax.jit(jax.vmap(lambda state, x, y: jax.lax.scan(step, state, (x, y))[0]))
    state = jax.vmap(init)(jax.random.split(jax.random.key(0), models))

    def turn():
        jax.block_until_ready(epoch(state, x, y))
        return models * records / net["records"]

    return turn


def torch_loop(net, threads, tuned, models=1):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    x, y = data(net)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.int64)
    c = net["classes"]
    if len(net["shape"]) == 1:
        layers = [nn.Linear(600, 128), nn.Tanh(), nn.Linear(128, c)]
    else:  # pooling before the activation, as ours: the same values, and less to activate
        x = x.permute(0, 3, 1, 2).contiguous()
        layers = []
        for i in (3, 32):
            layers += [nn.Conv2d(i, 32, 5, padding=2), nn.MaxPool2d(2), nn.Tanh()]
        layers += [nn.Flatten(), nn.Linear(2048, 128), nn.Tanh(), nn.Linear(128, c)]
    model, loss = nn.Sequential(*layers), nn.CrossEntropyLoss()
    if tuned and x.ndim == 4:
        x, model = x.to(memory_format=torch.channels_last), model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, **({"fused": True} if tuned else {}))

    def turn():
        for _ in range(models):
            order = torch.randperm(net["records"])
            for first in range(0, len(order), BATCH):
                rows = order[first : first + BATCH]
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
        return models

    return turn


def _worker(pipe, net, tuned):
    turn = torch_loop(net, 1, tuned)
    turn()
    pipe.send(0)
    with contextlib.suppress(EOFError):  # the parent has gone
        while pipe.recv():
            pipe.send(turn())


def torch_processes(net, cores, tuned):
    """One process of one thread per core, each training its own networks."""
    pipes = []
    for _ in range(cores):
        here, there = multiprocessing.get_context("spawn").Pipe()
        multiprocessing.get_context("spawn").Process(target=_worker, args=(there, net, tuned), daemon=True).start()
        here.recv()
        pipes.append(here)

    def turn():
        for pipe in pipes:
            pipe.send(True)
        return sum(pipe.recv() for pipe in pipes)

    return turn


def matmul(m, k, n, lanes=1):
    """GFLOP/s of NumPy."""
    rng = np.random.default_rng(0)
    a, b = (rng.random(s, dtype=np.float32) for s in ((lanes, m, k), (lanes, k, n)))
    out = np.matmul(a, b)
    repeats = max(1, int(4e9 / (2 * a.size * n)))

    def turn():
        for _ in range(repeats):
            np.matmul(a, b, out=out)
        return repeats * 2 * a.size * n / 1e9

    return turn


# --- the table -------------------------------------------------------------------------------------------------------


def take_turns(contenders, turns):
    """name -> (median, best) of what each does per second."""
    rates = {name: [] for name in contenders}
    for turn in contenders.values():
        turn()  # compilation, warm caches
    for _ in range(turns):
        for name, turn in contenders.items():
            began = time.perf_counter()
            done = turn()
            rates[name].append(done / (time.perf_counter() - began))
    return {name: (statistics.median(r), max(r)) for name, r in rates.items()}


def table(net, contenders, turns):
    per = flops(net) / 1e9
    rates = take_turns(contenders, turns)
    print(f"\n{net['name']}; {net['records']:,} records, batch {BATCH}, Adam 1e-3; {per:.3g} GFLOP per model-epoch")
    print(f"{'':38}{'model-epochs/s':>20}{'GFLOP/s':>18}{'ours is':>10}")
    print(f"{'':38}{'median':>12}{'best':>8}{'median':>11}{'best':>7}{'(median)':>10}")
    mark = rates["ours"][0] * per
    for name, (median, best) in rates.items():
        gflops = [median, best] if name.startswith("numpy") else [median * per, best * per]
        epochs = ["", ""] if name.startswith("numpy") else [f"{median:.3g}", f"{best:.3g}"]
        share = f"{mark / gflops[0]:.0%}" if name.startswith("numpy") else f"{mark / gflops[0]:.2f} x"
        print(f"{name:38}{epochs[0]:>12}{epochs[1]:>8}{gflops[0]:>11.1f}{gflops[1]:>7.1f}{share:>10}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("purchase", "cifar"), help="only this one")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--chunk", type=int, help="models at once; default: as training.fit_many chooses")
    args = parser.parse_args()

    import jax

    from mia_jax import cli

    cores = cli.use_every_core()
    try:
        import torch
    except ImportError:
        torch = None
        print("PyTorch is not installed: its rows are left out. pip install torch")
    print(f"{cores} cores, jax {jax.__version__}, torch {torch and torch.__version__}, numpy {np.__version__}")
    for net in (PURCHASE, CIFAR):
        if args.network and args.network not in net["name"].lower():
            continue
        rows = {
            "ours": functools.partial(ours, net, args.chunk),
            "vmap over flax layers, one device": functools.partial(naive, net),
        }
        if torch is not None:
            for tuned in (False, True):
                kind = ", tuned" if tuned else ""
                rows[f"torch loop, {cores} threads{kind}"] = functools.partial(torch_loop, net, cores, tuned)
                rows[f"torch, {cores} processes x 1 thread{kind}"] = functools.partial(
                    torch_processes, net, cores, tuned
                )
        rows["numpy matmul, 2048 x 2048 x 2048"] = functools.partial(matmul, 2048, 2048, 2048)
        rows["numpy matmul, 100 x 600 x 128"] = functools.partial(matmul, 100, 600, 128, 64)
        table(net, {name: make() for name, make in rows.items()}, args.turns)


if __name__ == "__main__":
    main()
