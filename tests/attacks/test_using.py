"""Attacks by their names, and one of several models scored by the others."""

import jax
import numpy as np
import pytest

import mia_jax as mia
from mia_jax.types import InputError

N, K = 120, 8
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def world():
    """Scaled logits of models that remember, in complementary pairs."""
    plan = mia.plans.balanced(jax.random.key(1), N, num_models=K)
    member = mia.plans.membership_matrix(plan, N)
    rng = np.random.default_rng(2)
    return member, {"phi": rng.normal(size=N) + 2 * member + 0.5 * rng.normal(size=(K, N))}


@pytest.mark.parametrize("target", [0, 5])
def test_the_target_and_its_partner_are_no_shadows(world, target):
    member, seen = world
    attack = mia.attack("lira", 2)
    shadows = [k for k in range(K) if k not in (target, target ^ 1)]
    state = attack.fit(KEY, {"phi": seen["phi"][shadows]}, member[shadows], None)
    expected = attack.score(state, {"phi": seen["phi"][target]})
    np.testing.assert_array_equal(mia.score(KEY, attack, seen, member, target=target), expected)
    changed = {"phi": seen["phi"].copy()}
    changed["phi"][target ^ 1] += 100
    np.testing.assert_array_equal(mia.score(KEY, attack, changed, member, target=target), expected)


def test_a_population_is_that_of_the_target_and_the_shadows(world):
    member, seen = world
    seen = {"log_p_y": np.minimum(seen["phi"], 5) - 10}
    population = {"log_p_y": np.random.default_rng(3).normal(-10, 1, (K, 30))}
    attack, rows = mia.attack("rmia", 2), [3, 0, 1, 4, 5, 6, 7]
    state = attack.fit(
        KEY, {"log_p_y": seen["log_p_y"][rows[1:]]}, member[rows[1:]], {"log_p_y": population["log_p_y"][rows]}
    )
    scores = mia.score(KEY, attack, seen, member, target=3, population=population)
    np.testing.assert_array_equal(scores, attack.score(state, {"log_p_y": seen["log_p_y"][3]}))
    assert not np.array_equal(scores, mia.score(KEY, attack, seen, member, target=3))


def test_models_that_were_asked_about_records_of_their_own():
    """The paper's plan: the columns of two models are not one record, and an index says so."""
    plan = mia.plans.shokri(jax.random.key(4), 200, 40, num_models=5)
    index = np.concatenate([plan.train, plan.test], axis=1)
    member = np.broadcast_to(np.arange(80) < 40, (5, 80))
    seen = {"log_p_y": np.random.default_rng(5).normal(size=(5, 80)) + 3 * member, "y": np.zeros((5, 80), int)}
    attack = mia.attack("loss", 2)
    scores = mia.score(KEY, attack, seen, member, target=0, index=index)
    assert mia.auc(scores, member[0]).low > 0.9
    with pytest.raises(InputError, match=r"different records\? Give index="):
        mia.score(KEY, attack, seen, member, target=0)
    with pytest.raises(InputError, match="asked about the same records"):
        mia.score(KEY, mia.attack("rmia", 2), seen, member, target=0, index=index)
    with pytest.raises(InputError, match="the record behind each column"):
        mia.score(KEY, attack, seen, member, target=0, index=index[:, 1:])


def test_what_does_not_fit_is_told(world):
    member, seen = world
    attack = mia.attack("lira", 2)
    with pytest.raises(InputError, match=r"leaves \[S, n, ...\]"):
        mia.score(KEY, attack, seen, member[:, 1:], target=0)
    with pytest.raises(InputError, match=r"0 to 7; there is no 8"):
        mia.score(KEY, attack, seen, member, target=8)
    with pytest.raises(InputError, match="no shadow is left for model 0"):
        mia.score(KEY, attack, {"phi": seen["phi"][:2]}, member[:2], target=0)


def test_an_attack_says_what_it_is_not_and_lacks():
    with pytest.raises(InputError, match="did you mean lira"):
        mia.attack("LiRAA", 2)
    with pytest.raises(InputError, match=r"rmia has no option 'gama'; it has .*gamma"):
        mia.attack("rmia", 2, gama=1.0)
    with pytest.raises(InputError, match="gap has no option 'x'; it has none"):
        mia.attack("gap", 2, x=1)
    with pytest.raises(InputError, match="label_only needs schema="):
        mia.attack("label_only", 2)


def test_one_observer_is_several_of_one():
    records = mia.Records(np.eye(5, dtype=np.float32), np.arange(5) % 2)
    model = mia.models.mlp(2, (4,))
    params = jax.vmap(model.init, (0, None))(jax.random.split(KEY, 3), records.x)
    observer = mia.attack("loss", 2).observe
    rest = (lambda one: mia.as_target(model, one, 2), params, records)
    alone = mia.observe_shadows(KEY, observer, *rest)
    index = np.tile(np.arange(5), (3, 1))
    several = mia.observe_shadows(KEY, {"a": observer, "b": observer}, *rest, index)
    for name in ("a", "b"):
        jax.tree.map(np.testing.assert_array_equal, several[name], alone)


def test_measures_without_labels_are_those_with_them_less_the_classes():
    rng = np.random.default_rng(6)
    member = rng.random(300) < 0.5
    scores, labels = rng.normal(size=300) + member, rng.integers(3, size=300)
    with_labels = dict(mia.evaluate(scores, member, labels, 3))
    assert len(with_labels.pop("per_class")) == 3 and with_labels.pop("median_precision")
    assert mia.evaluate(scores, member) == with_labels
    with pytest.raises(InputError, match="give num_classes"):
        mia.evaluate(scores, member, labels)


def test_a_measure_reads_as_in_a_table():
    assert str(mia.Measure(0.96812, 0.96, 0.9749)) == "0.968 [0.960, 0.975]"
    assert str(mia.Measure(0.5)) == "0.500"
    assert str(mia.Measure(None, reason="not resolvable: few")) == "not resolvable: few"
