"""What the library does on an accelerator, within nine minutes, every figure printed as it comes.

    python benchmarks/gpu.py                       # one H100 or H200
    python benchmarks/gpu.py --scale=tiny          # the same lines on a CPU, in under two minutes
    python benchmarks/gpu.py --only=device,purchase

Parts, in this order:

* ``device``: the rates of large matmuls, which the other parts are compared with;
* ``agreement``: networks trained on the device and on the CPU, step by step the same up to a stated tolerance;
* ``purchase``: 256 shadows on SIMULATED Purchase-100 by the recipe of the authors of "Revisiting LiRA under realistic
  assumptions" (600-1024-512-100 tanh, SGD .01, momentum .9, weight decay 5e-4, cosine, batches of 128, 100 epochs; up
  to 16 hours on an RTX 4080, they say). Some epochs are timed and multiplied, said so;
* ``lira``: these shadows observed on all records, and one of them attacked;
* ``synthesis``: Algorithm 1 against one of them, in queries per second;
* ``cnn``: the paper's CIFAR network, by patches and by the vendor's convolution;
* ``networks``: the networks that people train today, in the way that ``training.timing`` finds fastest, and what 256 of
  them on 25,000 records would take (published: 29-33 hours with ResNet-18), EXTRAPOLATED from those steps;
* ``accuracy``: a wider fast network by the fast recipe on real CIFAR-10, if ``--data_dir`` has it: 92 % on records that
  it has not seen are wanted, and what 256 of them would take, EXTRAPOLATED from the second of two.

Data that $MIA_JAX_CACHE_DIR holds are not made anew.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mia_jax as mia
from mia_jax import cli, data, models
from mia_jax.models import networks, precision
from mia_jax.plans import splits
from mia_jax.synthesis import search
from mia_jax.targets import black_box, observation
from mia_jax.training import many, parallel, recipes, single, timing
from mia_jax.types import Model, Plan, Records, Trainer


class Scale(NamedTuple):
    """How much of everything."""

    matmul: int  # rows and columns
    shadows: int  # Purchase networks at once
    records: int  # of their pool
    hidden: tuple[int, ...]
    epochs: int  # timed; the recipe has 100
    cnn_records: int  # of a training set
    cnn_lanes: tuple[int, ...]  # networks at once that are tried
    synthesized: int  # records
    networks: dict[str, tuple[Callable[[], Model], recipes.Recipe]]  # of the part of that name
    accurate: tuple[Callable[[], Model], recipes.Recipe]  # of the part ``accuracy``


FULL = Scale(
    8192,
    256,
    197_324,
    (1024, 512),
    2,
    25_000,
    (1, 4, 16),
    100_000,
    {
        "airbench": (lambda: models.airbench(10), recipes.fast()),
        "resnet18": (lambda: models.resnet(10), recipes.lira()),
        "wrn28_2": (lambda: models.wide_resnet(10, depth=28, widen=2), recipes.lira()),
    },
    (lambda: models.airbench(10, widths=(128, 384, 384)), dataclasses.replace(recipes.fast(), num_epochs=24)),
)
SMALL = lambda: models.airbench(10, widths=(4, 8)), dataclasses.replace(recipes.fast(), batch_size=50, num_epochs=1)
TINY = Scale(
    512,
    4,
    4_000,
    (32, 16),
    1,
    200,
    (1, 2),
    100,
    {"airbench": SMALL},
    SMALL,
)
PURCHASE = recipes.revisiting()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--only", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--data_dir", help="folder of official files")
    parser.add_argument("--precision", help="only this one: float32, tf32 or bfloat16")
    parser.add_argument("--epochs", type=int, help="of the part accuracy")
    args = parser.parse_args()
    cli.use_every_core()
    scale = FULL if args.scale == "full" else TINY
    if args.epochs:
        network, recipe = scale.accurate
        scale = scale._replace(accurate=(network, dataclasses.replace(recipe, num_epochs=args.epochs)))
    chosen = args.only.split(",") if args.only else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    began, context = time.perf_counter(), Context(scale, args.data_dir, args.precision)
    for name in chosen:
        show(f"\n== {name}")
        with timed(f"{name}, in all"):
            PARTS[name](context)
    show(f"\nall: {time.perf_counter() - began:.0f} s")


def show(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    show(f"{what}: {time.perf_counter() - began:.1f} s")


class Context:
    """What several parts share: the data, trained networks, the rate of large matmuls."""

    def __init__(self, scale: Scale, data_dir: str | None, only: str | None):
        self.scale, self.data_dir = scale, data_dir
        tf32 = ["tf32"] if jax.default_backend() == "gpu" else []
        self.precisions = [only] if only else ["float32", *tf32, "bfloat16"]
        self.bandwidth = float("nan")  # bytes/s
        self.peak: dict[str, float] = {}  # FLOP/s by precision, as ``device`` measures them

    @functools.cached_property
    def purchase(self) -> tuple[Records, Any]:
        with timed("simulated Purchase-100, loaded or made"):
            pool, schema = data.load("purchase", data_dir=self.data_dir, source="simulated", notify=show)
            pool = Records(pool.x[: self.scale.records], pool.y[: self.scale.records])
        return pool, schema

    @functools.cached_property
    def plan(self) -> Plan:
        """Who trains on what: half of the records each, in complementary pairs."""
        n = len(self.purchase[0].y)
        return splits.balanced(jax.random.key(1), n, self.scale.shadows)

    @functools.cached_property
    def shadows(self) -> tuple[Model, Any]:
        """Networks of the recipe, trained for the timed epochs only."""
        return train_purchase(self, "bfloat16", announce=False)


# --- device ----------------------------------------------------------------------------------------------------------


def device(context: Context) -> None:
    first = jax.local_devices()[0]
    limit = (first.memory_stats() or {}).get("bytes_limit", 0)
    show(f"{first.device_kind}, {jax.device_count()} devices, {limit / 2**30:.0f} GiB for JAX, jax {jax.__version__}")
    n = context.scale.matmul
    for name, dtype, arithmetic in (
        ("float32", jnp.float32, "float32"),
        ("tf32", jnp.float32, "tensorfloat32"),
        ("bfloat16", jnp.bfloat16, None),
    ):
        a, b = (jax.random.normal(key, (n, n), dtype) for key in jax.random.split(jax.random.key(0)))
        with jax.default_matmul_precision(arithmetic):
            product = jax.jit(jnp.matmul)
            seconds = fastest(lambda product=product, a=a, b=b: product(a, b))
        context.peak[name] = 2 * n**3 / seconds
        show(f"matmul {n} x {n} x {n} in {name}: {context.peak[name] / 1e12:.1f} TFLOP/s")
    x = jnp.zeros(64 * n * n // 4, jnp.float32)  # 4 GiB
    add = jax.jit(lambda x: x + 1)
    context.bandwidth = 2 * x.nbytes / fastest(lambda: add(x))
    show(f"memory: {context.bandwidth / 1e9:,.0f} GB/s, read and written")


def fastest(run: Callable[[], Any], times: int = 5) -> float:
    """Seconds of the fastest of some runs, after one that compiles."""
    jax.block_until_ready(run())
    took = []
    for _ in range(times):
        began = time.perf_counter()
        jax.block_until_ready(run())
        took.append(time.perf_counter() - began)
    return min(took)


def share(context: Context, flops: float, arithmetic: str) -> str:
    return f", {flops / context.peak[arithmetic]:.0%} of large matmuls" if arithmetic in context.peak else ""


# --- agreement -------------------------------------------------------------------------------------------------------

# Relative to the length of all parameters, after two epochs: float32 sums in another order; tf32 and bfloat16 round
# factors to 10 and 7 bits.
TOLERANCE = {"float32": 1e-4, "tf32": 5e-3, "bfloat16": 5e-2}


def agreement(context: Context) -> None:
    """The same networks on the CPU; the sizes are small, for its compiler and ours take most of the time."""
    rng = np.random.default_rng(0)
    flat = Records(rng.integers(0, 2, (200, 30), dtype=np.uint8), rng.integers(0, 5, 200).astype(np.int32))
    images = Records(rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8), rng.integers(0, 5, 60).astype(np.int32))
    small_cnn = models.cnn(5, channels=(8, 8), kernel=3, dense=16)
    cases = {
        "mlp with dropout": (models.mlp(5, (32,), dropout=0.5), flat),
        "cnn by patches": (small_cnn, images),
    }
    for name, (model, pool) in cases.items():
        on_cpu, reference = trained(model, pool, jax.local_devices(backend="cpu"))
        for arithmetic in context.precisions:
            on_device, loss = trained(precision.computed_in(model, arithmetic), pool, jax.local_devices())
            gap = relative(on_device, on_cpu)
            verdict = "agrees" if gap <= TOLERANCE[arithmetic] else "DIFFERS"
            show(
                f"{name} in {arithmetic}: parameters differ by {gap:.1e}, losses by {relative(loss, reference):.1e}:"
                f" {verdict} (tolerance {TOLERANCE[arithmetic]:g})"
            )


def relative(one: Any, other: Any) -> float:
    """The distance of two trees of numbers, in units of the length of the second."""
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (one, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def trained(model: Model, pool: Records, devices) -> tuple[Any, np.ndarray]:
    index = np.stack([np.random.default_rng(k).permutation(len(pool.y))[:50] for k in range(2)])
    with jax.default_device(devices[0]):
        keys = jax.random.split(jax.random.key(0), 2)
        trainer = single.make_trainer(model, optax.sgd(0.05, momentum=0.9), 20, microbatch=20)
        params, info = many.fit_many(trainer, keys, pool, index, 2, lanes=2, devices=devices[:1])
    return params, info.loss


# --- Purchase --------------------------------------------------------------------------------------------------------


def train_purchase(context: Context, arithmetic: str, *, announce: bool = True) -> tuple[Model, Any]:
    scale, (pool, _) = context.scale, context.purchase
    m = context.plan.train.shape[1]
    model = precision.computed_in(models.mlp(100, scale.hidden), arithmetic)
    trainer = recipes.make_trainer(model, PURCHASE, m)
    keys, ends = jax.random.split(jax.random.key(2), scale.shadows), [time.perf_counter()]

    def on_epoch(part, epoch, info):
        ends.append(time.perf_counter())

    on_device = parallel.replicate(pool)
    epochs = scale.epochs + 2  # the first compiles; of the last is told when its parameters are here
    params, info = many.fit_many(
        trainer,
        keys,
        on_device,
        context.plan.train,
        epochs,
        chunk=scale.shadows,
        lanes=scale.shadows,
        on_epoch=on_epoch,
    )
    if announce:
        took = (ends[-2] - ends[1]) / (epochs - 2) if epochs > 2 else float("nan")
        widths = (600, *scale.hidden, 100)
        per_record = 6 * sum(a * b for a, b in itertools.pairwise(widths)) - 2 * widths[0] * widths[1]
        rate = scale.shadows * m * per_record / took
        show(
            f"{arithmetic}: {scale.shadows} networks x {m:,} records, {took:.2f} s an epoch ({scale.shadows / took:.1f}"
            f" model-epochs/s, {rate / 1e12:.1f} TFLOP/s{share(context, rate, arithmetic)}); the first took"
            f" {ends[1] - ends[0]:.1f} s, compilation included; {PURCHASE.num_epochs} epochs, EXTRAPOLATED:"
            f" {took * PURCHASE.num_epochs:.0f} s; loss after {epochs} epochs {info.loss[:, -1].mean():.3f}"
        )
    return model, params


def purchase(context: Context) -> None:
    for arithmetic in context.precisions:
        result = train_purchase(context, arithmetic)
    context.__dict__["shadows"] = result  # the last, in bfloat16


# --- what is done with shadows ---------------------------------------------------------------------------------------


def lira(context: Context) -> None:
    (pool, _), (model, params) = context.purchase, context.shadows
    attack, member = mia.attack("lira", num_classes=100), splits.membership_matrix(context.plan, len(pool.y))
    key = jax.random.key(3)
    with timed(f"{len(member)} networks observed on {len(pool.y):,} records, compilation included"):
        seen = observation.observe_shadows(
            key, attack.observe, lambda one: black_box.as_target(model, one, 100), params, parallel.replicate(pool)
        )
    apart = lambda tree, rows: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    with timed("LiRA: fitted on all but the first pair, the first network scored"):
        state = attack.fit(key, apart(seen, slice(2, None)), member[2:])
        scores = attack.score(state, apart(seen, 0))
    inside, outside = np.sort(scores[member[0]]), np.sort(scores[~member[0]])
    below = np.searchsorted(outside, inside).mean() / len(outside)
    show(f"AUC {below:.3f} after so few epochs, on SIMULATED records")


def synthesis(context: Context) -> None:
    (_, schema), (model, params) = context.purchase, context.shadows
    target = black_box.as_target(model, jax.tree.map(lambda leaf: leaf[0], params), 100)
    for searches in (1024, 8192) if context.scale.matmul == FULL.matmul else (16,):
        find = functools.partial(
            search.search, target=target, schema=schema, num_records=context.scale.synthesized, searches=searches
        )
        find(jax.random.key(4), max_queries=64 * searches)  # compiles
        began = time.perf_counter()
        records, info = find(jax.random.key(5), max_queries=2000 * searches)
        took = time.perf_counter() - began
        show(f"{searches} searches: {info.queries / took:,.0f} queries/s, {len(records.y) / took:,.0f} records/s")


# --- the paper's CIFAR network ---------------------------------------------------------------------------------------


def cnn(context: Context) -> None:
    scale = context.scale
    size, channels = ((32, 32, 3), (32, 32)) if scale.matmul == FULL.matmul else ((8, 8, 3), (4, 4))
    pool = noise(2 * scale.cnn_records, size)
    for name, convolution in (("patches", None), ("the vendor's", jax.lax.conv_general_dilated)):
        for lanes in scale.cnn_lanes:
            model = precision.computed_in(models.cnn(10, channels=channels, convolution=convolution), "bfloat16")
            trainer = single.make_trainer(model, optax.adam(1e-3), 100, microbatch=100)
            rate, compiled = model_epochs(trainer, pool, scale.cnn_records, lanes)
            show(f"{name} convolution, {lanes} at once: {rate:.2f} model-epochs/s; compiled in {compiled:.0f} s")


def noise(n: int, size: tuple[int, ...]) -> Records:
    """Images of random pixels, on the device: for times, which do not depend on what they show."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, *size), dtype=np.uint8)
    return parallel.replicate(Records(x, rng.integers(0, 10, n).astype(np.int32)))


def model_epochs(trainer: Trainer, pool: Records, m: int, lanes: int) -> tuple[float, float]:
    """Model-epochs a second of networks trained ``lanes`` at once, and the seconds that compilation took."""
    index = np.stack([np.random.default_rng(k).permutation(len(pool.y))[:m] for k in range(lanes)])
    keys = jax.random.split(jax.random.key(0), lanes)

    def run(epochs: int) -> float:
        began = time.perf_counter()
        many.fit_many(trainer, keys, pool, index, epochs, chunk=lanes, lanes=lanes)
        return time.perf_counter() - began

    first, second, third = run(1), run(1), run(3)
    return 2 * lanes / max(third - second, 1e-9), first - second


# --- networks of today -----------------------------------------------------------------------------------------------


def networks_of_today(context: Context) -> None:
    m = context.scale.cnn_records
    pool = noise(2 * m, (32, 32, 3))
    keys = jax.random.split(jax.random.key(6), 16 if context.scale.matmul == FULL.matmul else 2)
    index = np.stack([np.random.default_rng(k).permutation(2 * m)[:m] for k in range(len(keys))])
    for name, (make, recipe) in context.scale.networks.items():
        model = precision.computed_in(make(), "bfloat16")
        ways = {
            "the vendor's convolutions": recipes.make_trainer(model, recipe, m),
            "patches": recipes.make_trainer(networks.by_patches(model), recipe, m),
        }
        way = timing.fastest(ways, keys, pool, index, notify=lambda line, name=name: show(f"{name}: {line}"))
        rate = 3 * forward_flops(make(), pool) * way.rate
        hours = 256 * recipe.num_epochs * m / way.rate / 3600
        show(
            f"{name}: {way.rate / m:.3f} model-epochs/s of {m:,} records in batches of {recipe.batch_size}, about"
            f" {rate / 1e12:.0f} TFLOP/s{share(context, rate, 'bfloat16')}; 256 networks x {recipe.num_epochs} epochs,"
            f" EXTRAPOLATED: {60 * hours:.1f} minutes"
        )


def forward_flops(model: Model, pool: Records) -> float:
    """Of one record's forward pass, as XLA counts them; a training step is three times that."""
    x = np.zeros((1, *pool.x.shape[1:]), pool.x.dtype)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # GPUs do not tell
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        cost = jax.jit(networks.as_written(model).apply).lower(variables, x).cost_analysis()
    return float((cost or {}).get("flops", float("nan")))


def accuracy(context: Context) -> None:
    scale = context.scale
    make, recipe = scale.accurate
    if scale.matmul == TINY.matmul:
        show("random pixels: the accuracy says nothing")
        pool = noise(2 * scale.cnn_records, (32, 32, 3))
    else:
        try:
            pool, _ = data.load("cifar10", data_dir=context.data_dir, source="official", notify=show)
        except mia.InputError as error:
            return show(f"left out: {str(error).splitlines()[0]}")
    order = np.random.default_rng(0).permutation(len(pool.y))
    learned, held_out = order[: scale.cnn_records], order[scale.cnn_records :][:10_000]
    model = precision.computed_in(make(), "bfloat16")
    trainer, ends = recipes.make_trainer(model, recipe, len(learned)), [time.perf_counter()]
    trained = functools.partial(many.fit_many, trainer, pool=parallel.replicate(pool), lanes=1, chunk=1)
    params, info = trained(
        jax.random.split(jax.random.key(7), 2),
        index=np.stack([learned, learned]),
        num_epochs=recipe.num_epochs,
        on_epoch=lambda part, epoch, info: ends.append(time.perf_counter()),
    )
    second = time.perf_counter() - ends[recipe.num_epochs]  # the first one compiled
    right = [
        float((np.asarray(single.predict(model, one, pool.x[held_out])).argmax(axis=1) == pool.y[held_out]).mean())
        for one in (jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(2))
    ]
    show(
        f"airbench, {recipe.num_epochs} epochs of {len(learned):,} records: right on {right[0]:.4f} and {right[1]:.4f}"
        f" of {len(held_out):,} others (training loss {info.loss[:, -1].mean():.3f}); {second:.2f} s a network; 256"
        f" networks, EXTRAPOLATED: {256 * second / 60:.1f} minutes"
    )


PARTS = {
    "device": device,
    "agreement": agreement,
    "purchase": purchase,
    "lira": lira,
    "synthesis": synthesis,
    "cnn": cnn,
    "networks": networks_of_today,
    "accuracy": accuracy,
}

if __name__ == "__main__":
    main()
