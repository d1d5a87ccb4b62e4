"""Where the time of a training step goes: the same training with parts taken away, one after the other.

    python benchmarks/training_step.py [--network=purchase|cifar] [--turns=7]

All rows are trained by ``many.fit_many``, on every core, and take turns. The last is no training: the matmuls of a
step, forward and backward, on numbers that change by a billionth so that nothing can be left out.
"""

import argparse

import numpy as np
from shadow_training import BATCH, CIFAR, PURCHASE, data, flops, take_turns

MICROBATCH = 4  # records of the CIFAR network at once: what ``training`` chooses on CPUs


def layers(net):
    """(rows, inputs, outputs) of each matmul of the forward pass of one microbatch, and microbatches per batch."""
    if len(net["shape"]) == 1:
        return [(BATCH, net["shape"][0], 128), (BATCH, 128, net["classes"])], 1
    b = MICROBATCH  # the convolutions as ``models.conv_same`` writes them: 75 taps filled up, and 5 rows as columns
    return [(b * 32 * 32, 80, 32), (b * 16 * 16, 160, 160), (b, 2048, 128), (b, 128, net["classes"])], BATCH // b


def only_matmuls(net):
    import jax
    import jax.numpy as jnp

    from mia_jax.types import EpochInfo, Trainer, TrainState

    shapes, parts = layers(net)

    def init(key, x):
        draw = lambda at, shape: jax.random.normal(jax.random.fold_in(key, at), shape)  # noqa: E731
        arrays = [(draw(m, (m, k)), draw(k, (k, n)), draw(n, (m, n))) for m, k, n in shapes]
        return TrainState(arrays, (), key, jnp.int32(0))

    # Dense layers of a network trained in microbatches: their weights' gradient is taken once per batch.
    waiting = range(2, len(shapes)) if parts > 1 else ()

    def microbatch(arrays, _):
        new = []
        for i, (a, w, g) in enumerate(arrays):
            out = a @ w
            da = (g @ w.T).sum() if i else 0.0  # nobody asks for the gradient of the records
            if i in waiting:
                new.append((a + 1e-9 * da, w, g + 1e-9 * out.sum()))
            else:
                new.append((a, w + 1e-9 * (a.T @ g), g + 1e-9 * (out.sum() + da)))
        return new, None

    def step(arrays, _):
        arrays, _ = jax.lax.scan(microbatch, arrays, length=parts)
        for i in waiting:
            a, w, g = arrays[i]
            arrays[i] = a, w + 1e-9 * (jnp.tile(a, (parts, 1)).T @ jnp.tile(g, (parts, 1))), g
        return arrays, None

    def epoch(state, pool, index):
        arrays, _ = jax.lax.scan(step, state.params, length=net["records"] // BATCH)
        return state._replace(params=arrays), EpochInfo(jnp.float32(0), jnp.float32(0))

    return Trainer(init, epoch)


def contenders(net):
    import jax
    import optax

    from mia_jax.models import networks
    from mia_jax.training import many, single
    from mia_jax.types import Records

    model = networks.mlp(net["classes"]) if len(net["shape"]) == 1 else networks.cnn(net["classes"])
    pool = Records(*data(net))
    floats = Records(pool.x.astype(np.float32), pool.y)
    keys = jax.random.split(jax.random.key(0), net["models"])
    index = np.tile(np.arange(net["records"], dtype=np.int32), (net["models"], 1))

    adam, sgd = (single.make_trainer(model, optimizer(1e-3), BATCH) for optimizer in (optax.adam, optax.sgd))
    rows = {
        "training": (adam, pool),
        "with SGD for Adam": (sgd, pool),
        "and records in float32": (sgd, floats),
        "its matmuls alone": (only_matmuls(net), floats),
    }

    def turn(trainer, pool, epochs=2):
        many.fit_many(trainer, keys, pool, index, epochs)
        return net["models"] * epochs

    return {name: lambda row=row: turn(*row) for name, row in rows.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("purchase", "cifar"), help="only this one")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()

    import jax

    from mia_jax import cli

    cores = cli.use_every_core()
    print(f"{cores} cores, jax {jax.__version__}; us: of one network's step of {BATCH} records on one core, medians")
    for net in (PURCHASE, CIFAR):
        if args.network and args.network not in net["name"].lower():
            continue
        print(f"\n{net['name']}\n{'':24}{'model-epochs/s':>16}{'GFLOP/s':>10}{'us':>9}{'less by':>9}")
        before = None
        for name, (median, _) in take_turns(contenders(net), args.turns).items():
            us = 1e6 * cores / (median * net["records"] / BATCH)
            less = "" if before is None else f"{before - us:.0f}"
            print(f"{name:24}{median:>16.3g}{median * flops(net) / 1e9:>10.0f}{us:>9.0f}{less:>9}", flush=True)
            before = us


if __name__ == "__main__":
    main()
