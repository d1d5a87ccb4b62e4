"""Ways to unlearn, judged by U-LiRA on real Location, as a table of docs/results.md.

    python benchmarks/unlearning.py --data_dir=FOLDER  # 4 minutes on 2 cores that others used, too

Each of 32 networks trains on 2,000 records that all keep and on 200 of 400 others, complementary halves in pairs, and
unlearns its 200. Beside them stand 32 networks retrained on the 2,000 alone. Every way starts from the same networks.
Retraining, with random numbers of its own, is the control: nothing can be told there, so its intervals hold .5.
"""

import argparse
import functools

import jax
import numpy as np
import optax

import mia_jax as mia

KEPT, FORGOTTEN, MODELS, EPOCHS = 2_000, 200, 32, 100  # Adam 1e-3 in batches of 100, as scripts/train.py trains
ASCENT = optax.chain(
    optax.scale(-1.0), optax.adam(1e-3)
)  # up the loss; by SGD at .02 nothing moves, for losses are near 0


def networks(trainer, key, pool, rows):
    """Networks trained on rows [K, m] of the pool: parameters, leaves [K, ...]."""
    return mia.fit_many(trainer, jax.random.split(key, len(rows)), pool, rows, EPOCHS)[0]


@functools.partial(jax.jit, static_argnums=(0, 5))
def further(trainer, params, key, pool, rows, epochs):
    """A network that trains on, from its parameters, on rows [m] of the pool."""
    state = trainer.init(key, pool.x[:1])._replace(params=params)
    for _ in range(epochs):
        state, _ = trainer.epoch(state, pool, rows)
    return state.params


def each(step, params, keys, *rows):
    """``step`` (params, key, rows...) of one network after the other: parameters, leaves [K, ...]."""
    made = [
        step(jax.tree.map(lambda leaf, k=k: leaf[k], params), keys[k], *(r[k] for r in rows)) for k in range(MODELS)
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *made)


def cell(measure):
    """A measure for the table."""
    return "not resolvable" if measure.value is None else str(measure)


def main() -> None:
    """Print a row for each way to unlearn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", help="where the official file lies")
    parser.add_argument("--source", default="official", help="official, or simulated to try the script")
    given = parser.parse_args()
    pool, schema = mia.load("location", data_dir=given.data_dir, source=given.source)
    key = dict(
        zip(
            ("rows", "pairs", "original", "retrained", "control", "further"),
            jax.random.split(jax.random.key(0), 6),
            strict=True,
        )
    )
    order = np.asarray(jax.random.permutation(key["rows"], len(pool.y)), np.int32)
    kept, drawn = order[:KEPT], order[KEPT : KEPT + 2 * FORGOTTEN]
    plan = mia.plans.balanced(key["pairs"], len(drawn), MODELS)
    forget, forgotten = drawn[plan.train], mia.plans.membership_matrix(plan, len(drawn))
    retain = np.tile(kept, (MODELS, 1))
    model = mia.models.mlp(schema.num_classes)
    trainer = mia.make_trainer(model, optax.adam(1e-3), batch_size=100)
    ascend = mia.make_trainer(model, ASCENT, batch_size=100)
    original = networks(trainer, key["original"], pool, np.concatenate([retain, forget], axis=1))
    retrained = networks(trainer, key["retrained"], pool, retain)
    keys = jax.random.split(key["further"], MODELS)
    pool = jax.tree.map(jax.numpy.asarray, pool)

    def tuned(params, epochs):
        return each(lambda p, k, r: further(trainer, p, k, pool, r, epochs), params, keys, retain)

    def ascended(epochs):
        return each(lambda p, k, r: further(ascend, p, k, pool, r, epochs), original, keys, forget)

    @jax.jit
    def ask(params):
        return jax.lax.map(lambda p: jax.nn.log_softmax(model.apply(p, pool.x[drawn])), params)

    ways = {
        "nothing": lambda: original,
        "fine-tuning on the kept records, 5 epochs": lambda: tuned(original, 5),
        "fine-tuning, 50 epochs": lambda: tuned(original, 50),
        "gradient ascent on the forgotten, 2 epochs": lambda: ascended(2),
        "gradient ascent, 5 epochs": lambda: ascended(5),
        "gradient ascent, 10 epochs": lambda: ascended(10),
        "gradient ascent, 5 epochs, then fine-tuning, 5": lambda: tuned(ascended(5), 5),
        "retraining (the control)": lambda: networks(trainer, key["control"], pool, retain),
    }
    y = np.asarray(pool.y)[drawn]
    answers = [np.asarray(ask(params)) for params in (original, retrained)]
    print(f"{schema.marked_name}, {MODELS} networks\n")
    print("| way to unlearn | privacy: AUC | TPR at 1 % FPR | efficacy: AUC | accuracy: forgotten | never seen |")
    print("|---" * 6 + "|")
    for name, make in ways.items():
        mine = np.asarray(ask(make()))
        found = mia.unlearning(mine, answers[1], y, forgotten=forgotten, original=answers[0])
        right = (mine.argmax(-1) == y)[forgotten].mean()
        tpr = cell(found.privacy.tpr_at_fpr["0.01"])
        cells = [name, found.privacy.auc, tpr, found.efficacy.auc, f"{right:.3f}", f"{found.accuracy['unlearned']:.3f}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\nretrained networks, on records never seen: {found.accuracy['retrained']:.3f}")


if __name__ == "__main__":
    main()
