"""What DP-SGD costs: shadows of the Purchase network (600-128-100, batch 100), plain and private, in one run.

    pip install jax-privacy==2.0.0                   # optional: its row (it pins attrs < 24)
    python benchmarks/dp.py                          # about three minutes

Every row trains the same networks on the same records with SGD. Rows take turns, and the median over the turns is told
with the best turn beside it. Ours draws Poisson samples by itself, and has room for 177 records a step. The peers get
batches of exactly 100 records drawn beforehand, and their steps in one ``scan``; under ``vmap``, and one by one. The
claim to be checked: private shadows cost at most 4 times plain ones.
"""

import argparse
import importlib.util
import statistics
import time

import numpy as np

BATCH, RECORDS, SHAPE, CLASSES = 100, 10_000, (600,), 100
CLIP, NOISE, RATE = 1.0, 1.1, 0.1


def data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (2 * RECORDS, *SHAPE), dtype=np.uint8)
    return x, rng.integers(0, CLASSES, len(x)).astype(np.int32)


def ours(trainer, shadows, steps):
    """A turn of ``fit_many``: one epoch on so many records that it has ``steps`` steps."""
    import jax

    from mia_jax.training import many, parallel
    from mia_jax.types import Records

    pool = parallel.replicate(Records(*data()))
    rng = np.random.default_rng(1)
    index = np.stack([rng.permutation(2 * RECORDS)[: steps * BATCH] for _ in range(shadows)])
    keys = jax.random.split(jax.random.key(0), shadows)
    return lambda: many.fit_many(trainer, keys, pool, index, 1, chunk=shadows)


def peer(update, init, model, shadows, steps, vmapped):
    """``steps`` steps of ``(params, state, x, y, key) -> (params, state)``, scanned, for all shadows."""
    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, data())
    rows = jnp.asarray(np.random.default_rng(1).integers(0, len(x), (shadows, steps, BATCH)), jnp.int32)

    def run(key, rows):
        params = model.init(key, x[:1])

        def step(carry, at):
            t, some = at
            return update(*carry, x[some], y[some], jax.random.fold_in(key, t)), None

        return jax.lax.scan(step, (params, init(params)), (jnp.arange(steps), rows))[0][0]

    trained = jax.jit(jax.vmap(run) if vmapped else lambda keys, rows: jax.lax.map(lambda a: run(*a), (keys, rows)))
    keys = jax.random.split(jax.random.key(0), shadows)
    return lambda: jax.block_until_ready(trained(keys, rows))


def optax_dpsgd(model, loss, shadows, steps, vmapped):
    """optax.contrib.dpsgd: gradients of all records of the batch at once."""
    import jax
    import optax
    from optax import contrib

    optimizer = contrib.dpsgd(RATE, l2_norm_clip=CLIP, noise_multiplier=NOISE, seed=0)

    def update(params, state, x, y, key):
        del key  # it draws its noise from an integer seed
        one = jax.grad(lambda params, x, y: loss(model.apply(params, x[None]), y[None])[0])
        updates, state = optimizer.update(jax.vmap(one, (None, 0, 0))(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    return peer(update, optimizer.init, model, shadows, steps, vmapped)


def jax_privacy_clipped_grad(model, loss, shadows, steps, vmapped):
    import jax
    import jax_privacy

    gradient = jax_privacy.clipped_grad(
        lambda params, x, y: loss(model.apply(params, x), y).mean(), l2_clip_norm=CLIP, batch_argnums=(1, 2)
    )

    def update(params, state, x, y, key):
        grads = gradient(params, x, y)
        leaves, structure = jax.tree.flatten(grads)
        keys = jax.random.split(key, len(leaves))
        noised = [g + NOISE * CLIP * jax.random.normal(k, g.shape, g.dtype) for k, g in zip(keys, leaves, strict=True)]
        grads = jax.tree.unflatten(structure, noised)
        return jax.tree.map(lambda p, g: p - RATE * g / BATCH, params, grads), state

    return peer(update, lambda params: (), model, shadows, steps, vmapped)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--peer_steps", type=int, default=10, help="the peers' steps: fewer, they are slow")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()

    import jax
    import optax

    from mia_jax import cli
    from mia_jax.models import networks
    from mia_jax.training import dp_sgd, single

    cores = cli.use_every_core()
    loss, model = optax.softmax_cross_entropy_with_integer_labels, networks.mlp(CLASSES)
    records = args.steps * BATCH
    options = dict(clip=CLIP, noise_multiplier=NOISE)
    rows = {"plain": (single.make_trainer(model, optax.sgd(RATE), BATCH), args.steps)}
    rows["DP-SGD, ghost clipping"] = (
        dp_sgd.make_trainer(model, optax.sgd(RATE), BATCH, records, **options),
        args.steps,
    )
    rows["the same without noise"] = (
        dp_sgd.make_trainer(model, optax.sgd(RATE), BATCH, records, clip=CLIP, noise_multiplier=0.0),
        args.steps,
    )
    runs = {name: (ours(trainer, args.shadows, steps), steps) for name, (trainer, steps) in rows.items()}
    peers = {"optax.contrib.dpsgd": optax_dpsgd, "jax_privacy.clipped_grad": jax_privacy_clipped_grad}
    if importlib.util.find_spec("jax_privacy") is None:
        print("jax-privacy is not installed: its rows are left out. pip install jax-privacy==2.0.0")
        del peers["jax_privacy.clipped_grad"]
    for name, make in peers.items():
        for how in ("vmapped", "one by one"):
            run = make(model, loss, args.shadows, args.peer_steps, how == "vmapped")
            runs[f"{name}, {how}"] = (run, args.peer_steps)
    for run, _ in runs.values():
        run()  # compiles
    seconds = {name: [] for name in runs}
    for _ in range(args.turns):
        for name, (run, steps) in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) / (steps * args.shadows))
    plain = statistics.median(seconds["plain"])
    print(f"{cores} cores, jax {jax.__version__}, optax {optax.__version__}; {args.shadows} shadows, batch {BATCH}")
    print(f"{'':38}{'ms per step and shadow':>24}{'x plain':>10}\n{'':38}{'median':>16}{'best':>8}{'(median)':>10}")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:38}{1e3 * median:>16.2f}{1e3 * min(taken):>8.2f}{median / plain:>10.2f}")


if __name__ == "__main__":
    main()
