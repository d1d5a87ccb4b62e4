"""Algorithm 1 (Shokri et al. 2017) in queries and records per second, beside ART's, a NumPy loop and the model alone.

    pip install adversarial-robustness-toolbox packaging       # optional: ART's rows
    python benchmarks/synthesis.py                             # simulated Purchase-100, about five minutes

All ask the same network (600-128-100, tanh, trained on 10,000 records of simulated Purchase-100) with the same
parameters. ART and the NumPy loop search one record at a time, as ART does. ART gets the network as a jitted function;
because that is slow for one record, also as two NumPy matmuls; and, because its own way of redrawing k features is a
Python loop over k, also our NumPy callback for that, which redraws bits. The model alone answers batches as large
as there are searches, over and over inside one jitted loop. Contenders take turns; medians over the turns are told,
also per second that a core was busy, which other work on the machine changes least.
"""

import argparse
import math
import os
import statistics
import time
import warnings

import numpy as np

F, C, HIDDEN = 600, 100, 128


def trained(seed):
    """Parameters of the network, and the schema of its data."""
    import jax
    import optax

    from mia_jax import data
    from mia_jax.models import networks
    from mia_jax.plans import splits
    from mia_jax.training import many, single

    pool, schema = data.load("purchase", source="simulated", seed=seed, notify=print)
    mine, _ = splits.reserve(jax.random.key(seed), len(pool.y), 20_000)
    model = networks.mlp(C, (HIDDEN,))
    trainer = single.make_trainer(model, optax.adam(1e-3), 100)
    keys = jax.random.split(jax.random.key(seed + 1), 1)
    params, _ = many.fit_many(trainer, keys, pool, mine[None, :10_000], 100)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    right = np.asarray(single.predict(model, params, pool.x[mine])).argmax(axis=1) == pool.y[mine]
    print(f"the target's accuracy: training {right[:10_000].mean():.3f}, test {right[10_000:].mean():.3f}")
    return model, params, schema


def plain(params):
    """The network as NumPy: x [b, f] float32 -> p [b, c]."""
    import jax

    by_shape = {leaf.shape: np.asarray(leaf) for leaf in jax.tree.leaves(params)}
    w1, b1, w2, b2 = (by_shape[shape] for shape in ((F, HIDDEN), (HIDDEN,), (HIDDEN, C), (C,)))

    def predict(x):
        z = np.tanh(x @ w1 + b1) @ w2 + b2
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    return predict


# --- contenders: each returns a function that works a while and says (queries, records) ------------------------------


def ours(target, schema, options, searches, records):
    import jax

    from mia_jax.synthesis import search

    seeds = iter(range(10**6))

    def turn():
        _, info = search.search(jax.random.key(next(seeds)), target, schema, records, searches=searches, **options)
        return info.queries, int(info.accepted.sum())

    return turn


def steady(target, schema, options, searches):
    """Queries while every search has work: a search for more records than the budget can find."""
    import jax

    from mia_jax.synthesis import search

    seeds = iter(range(10**6))

    def turn():
        key, budget = jax.random.key(next(seeds)), 256 * searches
        _, info = search.search(key, target, schema, 50_000, searches=searches, max_queries=budget, **options)
        return info.queries, 0

    return turn


def alone(target, searches, steps=200):
    import jax
    import jax.numpy as jnp

    x = np.random.default_rng(0).integers(0, 2, (searches, F), dtype=np.uint8)

    @jax.jit
    def loop(x):
        def step(_, carry):
            x, total = carry
            total += target.ask(x).sum()
            return x ^ (total > 0).astype(np.uint8), total  # the next question waits for this answer

        return jax.lax.fori_loop(0, steps, step, (x, jnp.float32(0)))[1]

    def turn():
        loop(x).block_until_ready()
        return steps * searches, 0

    return turn


def art(predict, options, seconds, plain=False):
    """``plain``: with ART's own random records and features, which are numbers, redrawn one by one with replacement."""
    from art.attacks.inference.membership_inference.shadow_models import ShadowModels
    from art.estimators.classification import BlackBoxClassifier

    asked = [0]

    def counting(x):
        asked[0] += len(x)
        return predict(x.astype(np.float32))

    classifier = BlackBoxClassifier(counting, (F,), C)
    rng = np.random.default_rng(0)

    class Template:  # shadow models are trained later; the synthesis asks nothing of them
        input_shape = F

        def clone_for_refitting(self):
            return self

    tool = ShadowModels(Template(), num_shadow_models=1, random_state=0)
    arguments = dict(
        min_confidence=options["conf_min"],
        max_features_randomized=options["k_max"],
        min_features_randomized=options["k_min"],
        max_rejections=options["rej_max"],
        max_iterations=options["iter_max"],
    )
    if not plain:
        arguments |= dict(
            random_record_fn=lambda: rng.integers(0, 2, F).astype(np.float32), randomize_features_fn=redrawn(rng)
        )
    return one_by_one(lambda c: tool._hill_climbing_synthesis(classifier, c, **arguments), asked, seconds)


def redrawn(rng):
    """k distinct features of a record, redrawn: ART's own redraws with replacement, and numbers instead of bits."""

    def randomize(record, k):
        record = record.copy()
        record[rng.choice(F, k, replace=False)] = rng.integers(0, 2, k)
        return record

    return randomize


def numpy_loop(predict, options, seconds):
    asked, rng = [0], np.random.default_rng(0)
    randomize = redrawn(rng)

    def find(c):
        x = rng.integers(0, 2, F).astype(np.float32)
        best, rejections, k, kept = 0.0, 0, options["k_max"], x
        for _ in range(options["iter_max"]):
            asked[0] += 1
            y = predict(x[None])[0]
            if y[c] >= best:
                if y[c] > options["conf_min"] and c == y.argmax() and rng.random() < y[c]:
                    return x
                kept, best, rejections = x, y[c], 0
            else:
                rejections += 1
                if rejections > options["rej_max"]:
                    k, rejections = max(options["k_min"], math.ceil(k / 2)), 0
            x = randomize(kept, k)
        raise RuntimeError

    return one_by_one(find, asked, seconds)


def one_by_one(find, asked, seconds):
    classes = iter(np.random.default_rng(1).permutation(100_000) % C)

    def turn():
        began, before, records = time.perf_counter(), asked[0], 0
        while time.perf_counter() - began < seconds:
            try:
                find(int(next(classes)))
                records += 1
            except RuntimeError:  # no record of this class found
                pass
        return asked[0] - before, records

    return turn


# --- the table -------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--searches", type=int, default=1024)
    parser.add_argument("--records", type=int, default=10_000, help="of one search of ours")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn of those who search one by one")
    args = parser.parse_args()

    import jax

    from mia_jax.synthesis.parameters import Parameters
    from mia_jax.targets import black_box

    model, params, schema = trained(0)
    target, options = black_box.as_target(model, params, C), Parameters()._asdict()
    predict = plain(params)
    probe = np.random.default_rng(0).integers(0, 2, (8, F), dtype=np.uint8)
    np.testing.assert_allclose(predict(probe.astype(np.float32)), np.exp(target.ask(probe)), rtol=1e-3, atol=1e-5)

    contenders = {
        "ours": ours(target, schema, options, args.searches, args.records),
        "ours, every search at work": steady(target, schema, options, args.searches),
        f"the model alone, batches of {args.searches:,}": alone(target, args.searches),
        "NumPy loop, NumPy network": numpy_loop(predict, options, args.seconds),
    }
    try:
        with warnings.catch_warnings(action="ignore"):
            import art as toolbox

            jitted = jax.jit(lambda x: jax.numpy.exp(target.ask(x)))
            one = lambda x: np.asarray(jitted(x))  # noqa: E731
            contenders["ART, jitted network"] = art(one, options, args.seconds, plain=True)
            contenders["ART, NumPy network"] = art(predict, options, args.seconds, plain=True)
            contenders["ART, NumPy network and features"] = art(predict, options, args.seconds)
            version = toolbox.__version__
    except ImportError:
        version = None
        print("ART is not installed: its rows are left out. pip install adversarial-robustness-toolbox packaging")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, jax {jax.__version__}, ART {version}, numpy {np.__version__}; {Parameters()}")

    rates = {name: [] for name in contenders}
    for turn in contenders.values():
        turn()  # compilation, warm caches
    for _ in range(args.turns):
        for name, turn in contenders.items():
            began, busy = time.perf_counter(), time.process_time()
            queries, records = turn()
            took, busy = time.perf_counter() - began, time.process_time() - busy
            rates[name].append((queries / took, records / took, queries / max(records, 1), queries / busy))
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in rates.items()}
    mark = medians["ours"][0]
    print(f"{'':36}{'queries/s':>12}{'records/s':>12}{'queries/record':>16}{'per CPU second':>16}{'ours is':>10}")
    for name, (queries, records, cost, per_cpu) in medians.items():
        told = (f"{records:,.1f}", f"{cost:,.1f}") if records else ("", "")
        print(f"{name:36}{queries:>12,.0f}{told[0]:>12}{told[1]:>16}{per_cpu:>16,.0f}{mark / queries:>8.2f} x")


if __name__ == "__main__":
    main()
