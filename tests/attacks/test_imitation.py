"""GLiRA and IMIA: formulas against loops, what they ask the target, a target that is told and one that is not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from small_runs import beat_guessing_on_real_location

import mia_jax as mia
from mia_jax.attacks import ATTACKS, glira, imia
from mia_jax.statistics import metrics
from mia_jax.targets import black_box
from mia_jax.types import InputError, Records

NAMES = ("glira", "imia")
RNG = np.random.default_rng(0)
SEEN = {
    "phi": RNG.normal(1, 2, 50),
    "imitated": RNG.normal(0, 2, (50, 6)).astype(np.float32),
    "pivots": RNG.normal(1, 2, 50).astype(np.float32),
}


def test_glira_is_offline_lira_beside_the_imitators():
    imitated = SEEN["imitated"].astype(np.float64)
    squares = sum(((row - row.mean()) ** 2).sum() for row in imitated)
    deviation = np.sqrt(squares / (50 * 5))
    expected = [
        -np.log(-scipy.stats.norm(row.mean(), deviation).logcdf(phi))
        for phi, row in zip(SEEN["phi"], imitated, strict=True)
    ]
    np.testing.assert_allclose(glira.score(SEEN), expected, rtol=1e-9)


def test_imia_tells_whether_pivots_or_imitators_are_nearer():
    expected = []
    for phi, row, inside in zip(SEEN["phi"], SEEN["imitated"].astype(np.float64), SEEN["pivots"], strict=True):
        outside = row.mean()
        expected.append(0.0 if inside < outside else (phi - outside) ** 2 - (phi - float(inside)) ** 2)
    np.testing.assert_allclose(imia.score(SEEN), expected, rtol=1e-9)
    assert (np.array(expected) == 0).any() and (np.array(expected) > 0).any()


def test_pivots_are_the_half_of_each_class_that_the_target_is_surest_of():
    y = RNG.integers(3, size=21).astype(np.int32)
    log_p = np.log(RNG.dirichlet(np.ones(4), 21)).astype(np.float32)  # of a fourth class there is nobody
    rows = np.asarray(imia.pivot_rows(log_p, y, 14))
    expected = []
    for c in range(4):
        mine = sorted(np.flatnonzero(y == c), key=lambda i: -log_p[i, c])
        expected += mine[: (len(mine) + 1) // 2]
    assert sorted(expected) == [row for row in rows if row >= 0] and len(rows) == 14
    values, there = RNG.normal(size=14), rows >= 0
    means = imia.class_means(jnp.asarray(values), jnp.asarray(y[rows]), jnp.asarray(there), 4)
    for c in range(4):
        of = values[there & (y[rows] == c)] if c < 3 else values[there]
        assert float(means[c]) == pytest.approx(of.mean(), rel=1e-5)


# --- networks that are trained ---------------------------------------------------------------------------------------


def world(seed=0):
    """A network that learned random labels by heart: records, population, its members, it as a callable."""
    rng = np.random.default_rng(seed)
    x = rng.random((240, 20)).astype(np.float32)
    records = Records(x, rng.integers(4, size=240).astype(np.int32))
    asked, population = (Records(*(leaf[part] for leaf in records)) for part in (slice(0, 160), slice(160, 240)))
    model = mia.models.mlp(num_classes=4, hidden=(64,))
    trainer = mia.make_trainer(model, optax.adam(1e-2), batch_size=20)
    member = rng.permutation(160) < 80
    params, _ = mia.fit_many(trainer, jax.random.key(seed)[None], asked, np.flatnonzero(member)[None], num_epochs=60)
    one = jax.tree.map(lambda leaf: leaf[0], params)
    return asked, population, member, model, mia.as_target(model, one, 4)


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_members_are_told_and_the_target_is_asked_about_each_record_once(name):
    asked, population, member, model, target = world()
    questions = []

    def predict(x):
        questions.append(len(x))
        return np.exp(np.asarray(target.ask(x)))

    made = ATTACKS[name](4, population=population, model=model, num_epochs=40, batch_size=20)
    seen = made.observe(jax.random.key(5), black_box.from_callable(predict, 4), asked)
    assert sum(questions) == len(population.y) + len(asked.y)
    state = made.fit(jax.random.key(0), jax.tree.map(lambda leaf: leaf[None], seen), member[None])
    scores = made.score(state, seen)
    assert metrics.auc(scores, member).low > 0.5
    inside = jax.jit(lambda x: made.observe(jax.random.key(5), target, asked._replace(x=x)))(asked.x)
    np.testing.assert_allclose(inside["imitated"], seen["imitated"], rtol=0.05, atol=0.05)


@pytest.mark.integration
def test_imitators_learn_what_the_target_answers():
    """Nearer to the target's answers than to labels: those of a target that is sure of wrong classes are learned."""
    _, population, _, model, _ = world()
    wrong = (population.y + 1) % 4
    target = black_box.from_callable(lambda x: 0.01 + 0.96 * np.eye(4)[wrong[_row(population, x)]], 4)
    fast = dict(optimizer=optax.adam(1e-2), num_epochs=60, batch_size=20, count=4)
    made = ATTACKS["glira"](4, population=population, model=model, **fast)
    seen = made.observe(jax.random.key(5), target, population)
    assert (seen["imitated"] < 0).mean() > 0.8  # of the labels, which the target never answers
    seen = made.observe(jax.random.key(5), target, population._replace(y=wrong))
    assert (seen["imitated"] > 0).mean() > 0.5  # each learned a half of them


def _row(population, x):
    return np.array([int(np.flatnonzero((population.x == record).all(axis=1))[0]) for record in np.asarray(x)])


@pytest.mark.parametrize("name", NAMES)
def test_without_a_population_there_is_nothing_to_imitate_on(name):
    nobody = Records(np.zeros((0, 3), np.float32), np.zeros(0, np.int32))
    with pytest.raises(InputError, match=f"{name} needs population records"):
        ATTACKS[name](4, population=nobody, model=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [4, 16, 64])
def test_a_target_that_trained_on_nobody_is_not_accused(name, count):
    """Gaussian answers that do not depend on membership: the AUC's interval holds .5 in 88 of 100 seeds at least."""
    held, attack = 0, {"glira": glira, "imia": imia}[name]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hard = rng.normal(0, 2, 400)
        seen = {
            "phi": hard + rng.normal(size=400),
            "imitated": (hard[:, None] + rng.normal(size=(400, count))).astype(np.float32),
            "pivots": np.full(400, 3.0, np.float32),
        }
        interval = metrics.auc(attack.score(seen), rng.permutation(400) < 200)
        held += interval.low <= 0.5 <= interval.high
    assert held >= 88


@pytest.mark.data
@pytest.mark.slow
def test_they_beat_guessing_on_real_location(data_dir, tmp_path):
    assert beat_guessing_on_real_location(NAMES, data_dir, tmp_path, query_shadows=2) == dict.fromkeys(NAMES, True)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 16, 64])
@pytest.mark.parametrize("name", NAMES)
def test_of_a_target_that_trained_on_none_of_them_nothing_is_found(name, count):
    """.5 lies in the AUC's interval in 88 of 100 seeds at least: real networks, 4, 16 and 64 imitators."""
    model = mia.models.mlp(num_classes=4, hidden=(16,))
    trainer = mia.make_trainer(model, optax.adam(1e-2), batch_size=20)
    rng = np.random.default_rng(1)
    pool = Records(rng.random((100, 8)).astype(np.float32), rng.integers(4, size=100).astype(np.int32))
    population = Records(*(leaf[:60] for leaf in pool))
    fast = dict(count=count, num_epochs=8, batch_size=30) | (dict(warmup=4, pivot_epochs=4) if name == "imia" else {})
    attack = ATTACKS[name](4, population=population, model=model, optimizer=optax.adam(1e-2), **fast)
    keys = jax.random.split(jax.random.key(0), 100)
    own = np.broadcast_to(np.arange(60, 100), (100, 40))  # none of the population, and none that is asked about
    params, _ = mia.fit_many(trainer, keys, pool, own, num_epochs=20)
    inside = 0
    for seed in range(100):
        asked = Records(rng.random((200, 8)).astype(np.float32), rng.integers(4, size=200).astype(np.int32))
        member = rng.random(200) < 0.5
        target = mia.as_target(model, jax.tree.map(lambda leaf, k=seed: leaf[k], params), 4)
        told = black_box.from_callable(lambda x, target=target: np.exp(np.asarray(target.ask(x))), 4)
        seen = attack.observe(jax.random.key(seed), told, asked)
        nobody = jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape)), seen)
        area = metrics.auc(attack.score(attack.fit(jax.random.key(0), nobody, np.zeros((0, 200), bool)), seen), member)
        inside += area.low <= 0.5 <= area.high
    print(f"\n{name}, {count} imitators: .5 in the interval in {inside} of 100 seeds")
    assert inside >= 88
