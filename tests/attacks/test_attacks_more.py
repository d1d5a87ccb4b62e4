"""Attacks that need more than plain answers, on simulated records and networks that were really trained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax.attacks import perturbation
from mia_jax.attacks.boundary import boundary
from mia_jax.attacks.label_only import label_only, logistic
from mia_jax.attacks.quantile import pinball, quantile
from mia_jax.attacks.trajectory import distiller, trajectory
from mia_jax.models import networks
from mia_jax.plans import splits
from mia_jax.statistics import metrics
from mia_jax.targets import black_box
from mia_jax.training import many, single
from mia_jax.types import Answers, Field, InputError, Records, Schema, Target

C, F, N, P, K = 4, 24, 240, 160, 6  # classes, bits, candidates, population, models
NAMES = ("label_only", "boundary", "quantile", "trajectory")
MODEL = networks.mlp(C, (32,))
KEY = jax.random.key(3)


def schema_of(*fields, shape=None):
    return Schema("toy", "simulated", "", C, shape or (fields[-1].stop,), tuple(fields))


BITS = schema_of(Field("bits", "binary", 0, F))
TRAINER = single.make_trainer(MODEL, optax.adam(1e-2), 40)


def draw(rng, n):
    """Simulated: bits, noisy labels."""
    x = rng.integers(0, 2, (n, F), dtype=np.uint8)
    means = (x - 0.5) @ np.random.default_rng(0).normal(size=(F, C))
    return Records(x, (means + 2 * rng.normal(size=(n, C))).argmax(axis=1).astype(np.int32))


@functools.cache
def world():
    """K overfitted networks of the balanced plan on N candidates; ``silent`` never saw any of them. ``population``
    trained none."""
    pool = draw(np.random.default_rng(5), N + P + N)
    x, y = pool
    plan = splits.balanced(jax.random.key(1), N, K)
    silent = splits.balanced(jax.random.key(2), N, K).train + N + P
    keys = jax.random.split(jax.random.key(4), 2 * K)
    params, _ = many.fit_many(TRAINER, keys, pool, np.concatenate([plan.train, silent]), 40)
    trained, silent = (jax.tree.map(lambda leaf, k=k: leaf[k : k + K], params) for k in (0, K))
    candidates, population = Records(x[:N], y[:N]), Records(x[N : N + P], y[N : N + P])
    return candidates, population, splits.membership_matrix(plan, N), trained, silent


def to_target(params):
    return black_box.as_target(MODEL, params, C)


ROWS = 2048  # of a question to a host target: one shape, compiled once


@jax.jit
def answer_rows(params, x):
    return to_target(params).ask(x)


def on_host(params):
    """The same network as a host target, from whose answers nothing is lost; it tells how much it was asked."""
    asked = []

    def ask(x):
        assert isinstance(x, np.ndarray) and x.dtype == np.uint8
        asked.append(len(x))
        wide = np.pad(x, ((0, -len(x) % ROWS), (0, 0)))
        parts = [np.asarray(answer_rows(params, wide[i : i + ROWS])) for i in range(0, len(wide), ROWS)]
        return np.concatenate(parts)[: len(x)]

    return Target(ask, Answers(C), traced=False), asked


def of(tree, k):
    return jax.tree.map(lambda leaf: leaf[k], tree)


@functools.cache
def attacks():
    _, population, *_ = world()
    return {
        "label_only": label_only(C, schema=BITS, num_queries=20),
        "boundary": boundary(C, schema=BITS, rounds=8, proposals=8),
        "quantile": quantile(C, alpha=0.2),
        "trajectory": trajectory(C, population=population, model=MODEL, num_epochs=8),
    }


@functools.cache
def looking():
    """What every attack sees of one model; under one ``jit``, ``vmap``ped over models."""

    def look(params, records):
        return {name: attack.observe(KEY, to_target(params), records) for name, attack in attacks().items()}

    return jax.jit(jax.vmap(look, in_axes=(0, None)))


@functools.cache
def seen(which="trained"):
    candidates, population, _, trained, silent = world()
    params = {"trained": trained, "silent": silent}[which]
    asked_population = jax.jit(jax.vmap(lambda p: attacks()["quantile"].observe(KEY, to_target(p), population)))(params)
    return jax.tree.map(np.asarray, (looking()(params, candidates), asked_population))


@functools.cache
def fitted(name, k=0, which="trained"):
    """The attack on model k: the others but its partner are the shadows. The population's answers are the target's."""
    rest = [j for j in range(K) if j not in (k, k ^ 1)]
    asked_population = jax.tree.map(lambda leaf: leaf[[k]], seen(which)[1]) if name == "quantile" else None
    member = world()[2][rest]
    return attacks()[name].fit(jax.random.key(7), of(seen()[0][name], rest), member, asked_population)


def scores(name, k=0, which="trained"):
    return np.asarray(attacks()[name].score(fitted(name, k, which), of(seen(which)[0][name], k)))


# --- all four --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_the_leak(name):
    """One finite score for each record, members the larger ones, zero between the two."""
    member = world()[2]
    both = np.stack([scores(name, k) for k in (0, 3)])
    assert both.shape == (2, N) and np.isfinite(both).all()
    assert metrics.auc(both.ravel(), member[[0, 3]].ravel()).low > 0.6
    called = both > 0
    tpr, fpr = called[member[[0, 3]]].mean(), called[~member[[0, 3]]].mean()
    assert tpr > fpr + 0.05
    if name != "quantile":  # whose zero is a rate of false alarms, not the best balanced accuracy
        assert (tpr + 1 - fpr) / 2 > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_nothing_where_nothing_was_learned(name):
    """The targets never saw a candidate; membership is that of the plan, and shadows are those of the audit."""
    member = world()[2]
    auc = [metrics.auc(scores(name, k, "silent"), member[k]).value for k in range(K)]
    deviation = np.sqrt((N + 1) / (12 * (N / 2) ** 2))  # of an AUC of noise
    assert np.abs(np.array(auc) - 0.5).max() < 3 * deviation  # six of them
    assert abs(np.mean(auc) - 0.5) < 2.5 * deviation / np.sqrt(K / 2)  # pairs are complements, and so not independent


@pytest.mark.slow
@pytest.mark.parametrize("shadows", [4, 16, 64])
def test_nothing_is_found_where_nothing_is_in_88_of_100_seeds(shadows):
    """In each seed other candidates and other networks; the target, model 0, learned from other records."""
    each, population = attacks(), world()[1]
    counts = dict.fromkeys(NAMES, 0)
    for seed in range(100):
        key_plan, key_train, key_fit = jax.random.split(jax.random.key(seed), 3)
        pool = draw(np.random.default_rng(100 + seed), 2 * N)
        candidates = Records(pool.x[:N], pool.y[:N])
        plan = splits.balanced(key_plan, N, shadows + 2)
        member = splits.membership_matrix(plan, N)
        index = np.concatenate([plan.train[2:], plan.train[:1] + N])  # model 1 is the target's partner
        params, _ = many.fit_many(TRAINER, jax.random.split(key_train, shadows + 1), pool, index, 40)
        found = jax.tree.map(np.asarray, looking()(params, candidates))
        asked = each["quantile"].observe(KEY, to_target(of(params, -1)), population)
        for name, attack in each.items():
            asked_population = jax.tree.map(lambda leaf: np.asarray(leaf)[None], asked) if name == "quantile" else None
            state = attack.fit(key_fit, of(found[name], slice(shadows)), member[2:], asked_population)
            area = metrics.auc(np.asarray(attack.score(state, of(found[name], -1))), member[0])
            counts[name] += area.low <= 0.5 <= area.high
    print(f"{shadows} shadows: 1/2 within the interval, of 100 seeds: {counts}")
    assert min(counts.values()) >= 88


def test_a_permutation_of_records_permutes_what_is_seen():
    candidates, _, _, trained, _ = world()
    order = np.random.default_rng(0).permutation(N)
    moved = looking()(trained, Records(candidates.x[order], candidates.y[order]))
    for name in NAMES:
        expected = jax.tree.map(lambda leaf: leaf[:, order], seen()[0][name])
        # A matmul may round a row by where it lies: phi moves in the last bits, and no label turns for that.
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-3), moved[name], expected)


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_a_host_target_gives_the_same_numbers(name):
    candidates, _, _, trained, _ = world()
    target, _ = on_host(of(trained, 2))
    host, traced = attacks()[name].observe(KEY, target, candidates), of(seen()[0][name], 2)
    if name in ("label_only", "boundary"):
        jax.tree.map(np.testing.assert_array_equal, host, traced)
    else:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=5e-3), host, traced)


@pytest.mark.parametrize("name", ["label_only", pytest.param("boundary", marks=pytest.mark.integration)])
def test_the_size_of_a_question_changes_nothing(name):
    candidates, _, _, trained, _ = world()
    make = {
        "label_only": functools.partial(label_only, C, schema=BITS, num_queries=20),
        "boundary": functools.partial(boundary, C, schema=BITS, rounds=8, proposals=8),
    }[name]
    target, asked = on_host(of(trained, 1))
    small = make(batch=480).observe(KEY, target, candidates)
    assert max(asked[1:]) <= 480 and asked[0] == N
    jax.tree.map(np.testing.assert_array_equal, small, of(seen()[0][name], 1))


def test_impossible_options_are_refused():
    with pytest.raises(InputError, match="schema of these records"):
        label_only(C, schema=BITS).observe(KEY, on_host(of(world()[3], 0))[0], Records(np.zeros((3, 5), np.uint8), [0]))
    with pytest.raises(InputError, match="strengths"):
        label_only(C, schema=BITS, strengths=(0.1, 1.5))
    with pytest.raises(InputError, match="round"):
        boundary(C, schema=BITS, rounds=0)
    with pytest.raises(InputError, match="population records"):
        quantile(C).fit(KEY, None, None, None)
    with pytest.raises(InputError, match="alpha"):
        quantile(C, alpha=0.0)
    with pytest.raises(InputError, match="population records"):
        trajectory(C, population=Records(np.zeros((0, F)), np.zeros(0)), model=MODEL)


# --- label only ------------------------------------------------------------------------------------------------------


def test_agreement_is_that_of_a_plain_loop():
    candidates, _, _, trained, _ = world()
    (target, _), strengths = on_host(of(trained, 0)), (0.05, 0.2)
    some = Records(candidates.x[:15], candidates.y[:15])
    got = label_only(C, schema=BITS, num_queries=5, strengths=strengths).observe(KEY, target, some)["agree"]
    perturb = jax.jit(perturbation.perturbation(BITS))
    for i in range(15):
        key, right = jax.random.fold_in(KEY, perturbation.digest(some.x[i : i + 1])[0]), [[], []]
        for j in range(5):
            x = np.asarray(perturb(jax.random.fold_in(key, j), some.x[i], strengths[j % 2]))
            right[j % 2].append(np.argmax(target.ask(x[None])[0]) == some.y[i])
        plain = np.argmax(target.ask(some.x[i : i + 1])[0]) == some.y[i]
        np.testing.assert_allclose(got[i], [plain, np.mean(right[0]), np.mean(right[1])], rtol=1e-6)


def test_logistic_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, ridge = rng.normal(size=(600, 3)), 1e-3
    member = rng.random(600) < 1 / (1 + np.exp(2 - x @ [1.0, -2.0, 0.5]))
    weights = logistic(x, member, ridge=ridge)
    theirs = LogisticRegression(C=1 / (2 * ridge * 600), class_weight="balanced", tol=1e-10).fit(x, member)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=2e-3, atol=2e-3)


# --- boundary --------------------------------------------------------------------------------------------------------


def test_a_host_target_is_not_asked_about_finished_searches():
    candidates, _, _, trained, _ = world()
    target, asked = on_host(of(trained, 0))
    distance = np.asarray(attacks()["boundary"].observe(KEY, target, candidates)["distance"])
    wrong = (distance == 0).sum()
    assert wrong > 20
    assert asked[0] == N and max(asked[1:]) == (N - wrong) * 8 and min(asked[1:]) < (N - wrong) * 8


# --- quantile --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_pinball_is_smallest_at_the_quantile(alpha):
    phi = jnp.asarray(np.random.default_rng(0).normal(size=1001), jnp.float32)
    grid = jnp.sort(phi)
    losses = jax.vmap(lambda q: pinball(alpha)(jnp.full((1001, 1), q), phi).mean())(grid)
    assert float(grid[jnp.argmin(losses)]) == pytest.approx(float(np.quantile(phi, 1 - alpha)), abs=0.02)


def test_of_equal_records_the_empirical_quantile_is_learned():
    """Nothing but the distribution of phi can be learned, here U(0, 1)."""
    phi = np.random.default_rng(0).random(4000, np.float32)
    same = {"phi": phi, "x": np.ones((4000, 3), np.uint8), "y": np.zeros(4000, np.int32)}
    attack = quantile(2, head="pinball", alpha=0.1, learning_rate=1e-2, weight_decay=0.0, batch_size=500)
    state = attack.fit(KEY, None, None, jax.tree.map(lambda leaf: leaf[None], same))
    above = phi - attack.score(state, same)  # the same for all: what is subtracted, with the offset
    assert np.ptp(above) < 1e-5
    assert abs(above[0] - np.quantile(phi, 0.9)) < 0.03  # 3 standard deviations of that of 1,000 held-out records
    assert abs(above[0] - state.offset - np.quantile(phi, 0.9)) < 0.03  # of the network alone


@pytest.mark.parametrize("head", ["gaussian", "pinball"])
def test_it_learns_how_hard_a_record_is_and_keeps_its_false_alarms(head):
    """phi ~ N(3 x_0 + 2 y, (1 + x_1)^2); members 2 spreads higher. Compare the score that knows all this."""
    rng = np.random.default_rng(0)

    def draw(n, lift=0.0):
        x, y = rng.integers(0, 2, (n, 6), dtype=np.uint8), rng.integers(0, 2, n).astype(np.int32)
        z = rng.normal(size=n) + lift
        phi = 3.0 * x[:, 0] + 2.0 * y + (1 + x[:, 1]) * z
        return {"phi": phi.astype(np.float32), "x": x, "y": y}, z

    attack = quantile(2, head=head, alpha=0.1, learning_rate=3e-3)
    (asked_population, _), (out, z_out), (members, z_in) = draw(2000), draw(2000), draw(2000, 2.0)
    state = attack.fit(KEY, None, None, jax.tree.map(lambda leaf: leaf[None], asked_population))
    low, high = attack.score(state, out), attack.score(state, members)
    assert abs((low > 0).mean() - 0.1) < 0.035  # 500 held-out records set zero
    member = np.arange(4000) >= 2000

    def auc(a, b):
        return metrics.auc(np.concatenate([a, b]), member).value

    best, plain = auc(z_out, z_in), auc(out["phi"], members["phi"])
    assert auc(low, high) > (best - 0.01 if head == "gaussian" else (best + plain) / 2)


# --- trajectory ------------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_batched_distillation_is_the_loop():
    candidates, population, _, trained, _ = world()
    look = jax.jit(lambda p: attacks()["trajectory"].observe(KEY, to_target(p), candidates)["trajectory"])
    for k in (0, 4):
        batched = seen()[0]["trajectory"]["trajectory"][k]
        assert batched.shape == (N, 9)
        np.testing.assert_allclose(look(of(trained, k)), batched, rtol=1e-3, atol=5e-3)
    assert len(population.x) == P


def test_distillation_is_the_plain_loop_over_its_epochs():
    """In one batch an epoch is a step, whatever the order: cross-entropy to the target's answers, by hand."""
    candidates, population, _, trained, _ = world()
    log_p, optimizer = to_target(of(trained, 0)).ask(population.x), optax.adam(1e-2)
    got = jax.jit(lambda p: distiller(MODEL, optimizer, P, 5)(KEY, population.x, p, candidates))(log_p)
    key_params, _ = jax.random.split(KEY)
    params = MODEL.init(key_params, population.x[:1])
    opt_state = optimizer.init(params)

    def loss(params):
        return optax.softmax_cross_entropy(MODEL.apply(params, population.x), jnp.exp(log_p)).mean()

    @jax.jit
    def step(params, opt_state):
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        params = optax.apply_updates(params, updates)
        return params, opt_state, jax.nn.softmax(MODEL.apply(params, candidates.x))

    for epoch in range(5):
        params, opt_state, p = step(params, opt_state)
        p = np.asarray(p, np.float64)[np.arange(N), candidates.y]
        np.testing.assert_allclose(got[:, epoch], np.log(p) - np.log1p(-p), rtol=1e-3, atol=1e-4)


@pytest.mark.integration
def test_a_distilled_network_comes_to_answer_as_the_target_does():
    _, population, _, trained, _ = world()
    log_p = to_target(of(trained, 0)).ask(population.x)
    own = np.asarray(trajectory_of_population(log_p, population))
    teacher = np.asarray(jnp.take_along_axis(log_p, population.y[:, None], 1)[:, 0])
    student = -np.logaddexp(0, -own)  # log p of the class asked about
    gap = np.abs(np.exp(student) - np.exp(teacher)[:, None]).mean(axis=0)
    assert gap[-1] < 0.1 < gap[0]


def trajectory_of_population(log_p, population):
    return jax.jit(lambda p: distiller(MODEL, optax.adam(1e-2), 40, 40)(KEY, population.x, p, population))(log_p)


def test_a_single_shadow_will_do():
    _, _, member, *_ = world()
    shadow = of(seen()[0]["trajectory"], [2])
    attack = attacks()["trajectory"]
    state = attack.fit(KEY, shadow, member[[2]], None)
    assert metrics.auc(attack.score(state, of(seen()[0]["trajectory"], 0)), member[0]).low > 0.5
