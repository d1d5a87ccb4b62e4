"""Four ways to come by shadow data, against a target that is a formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.audits import shadow_data
from mia_jax.audits.config import Config
from mia_jax.audits.types import Run
from mia_jax.plans import splits
from mia_jax.progress import silent
from mia_jax.storage import artifacts
from mia_jax.synthesis import marginal
from mia_jax.synthesis.search import PRIOR_QUERIES
from mia_jax.targets.black_box import Budget, BudgetSpent, budgeted
from mia_jax.types import Answers, Field, InputError, Records, Schema, Target

F, C, M, S = 6, 3, 8, 4
SCHEMA = Schema("made-up", "local", "", C, (F,), (Field("bits", "binary", 0, F),))
KEY = jax.random.key(5)
_rng = np.random.default_rng(0)
OWN = Records(_rng.integers(0, 2, (60, F)).astype(np.uint8), (np.arange(60) % C).astype(np.int32))


def make_target():
    """The class of a record is told by its first two bits."""
    pull = jnp.zeros((F, C)).at[:2, 1:].set(6 * jnp.eye(2)).at[:2, 0].set(-3)
    return Target(lambda x: jax.nn.log_softmax(jnp.asarray(x, jnp.float32) @ pull), Answers(C))


TARGET = make_target()


def obtain(tmp_path, m=M, own=OWN, target=lambda: TARGET, schema=SCHEMA, notify=lambda line: None, **changed):
    config = Config(num_shadows=S, k_max=3, k_min=1, **changed)
    shadow_data.check(config, schema)
    with artifacts.open_workdir(tmp_path / "w", {}) as workdir:
        run = Run(config, config, workdir, KEY, notify, silent, {})
        return shadow_data.obtain(run, config, KEY, shadow_data.Adversary(own, schema, m, target, {"target": "t"}))


def never():
    raise AssertionError("the target is not needed for this")


def test_real_records_are_the_adversarys_own(tmp_path):
    data = obtain(tmp_path, target=never)
    assert data.pool is OWN and data.info == {} and data.origin == "real"
    assert data.digest == artifacts.array_digest(*OWN)
    np.testing.assert_array_equal(data.plan.train, splits.shokri(jax.random.split(KEY)[0], 60, M, S).train)
    assert data.plan.train.shape == data.plan.test.shape == (S, M)


def test_simulated_records_stay_simulated(tmp_path):
    assert obtain(tmp_path, schema=SCHEMA._replace(source="simulated")).origin == "simulated"
    assert obtain(tmp_path, schema=SCHEMA._replace(source="simulated"), shadow_data="noisy").origin == "noisy"


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_noisy_records_keep_their_classes(tmp_path, noise):
    data = obtain(tmp_path, target=never, shadow_data="noisy", noise=noise)
    np.testing.assert_array_equal(data.pool.y, OWN.y)
    changed = (data.pool.x != OWN.x).mean()
    assert data.info["noise"] == noise and data.info["changed"] == pytest.approx(changed)
    assert changed == noise if noise in (0, 1) else abs(changed - noise) < 0.15


def test_marginal_records_are_labeled_by_the_target(tmp_path):
    told = []
    data = obtain(tmp_path, shadow_data="marginal", notify=told.append)
    assert data.pool.x.shape == (4 * M, F) and data.info == {"queries": 4 * M}
    np.testing.assert_array_equal(data.pool.y, np.argmax(TARGET.ask(data.pool.x), axis=1))
    assert told == ["Drawing 32 records from marginals, and asking the target for their labels"]


def test_marginals_may_be_given(tmp_path):
    """An adversary who has no record at all."""
    share = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    marginal.save_marginals(tmp_path / "m.npz", marginal.Marginals(share, np.zeros((1, 0), np.float32)))
    nothing = Records(OWN.x[:0], OWN.y[:0])
    data = obtain(tmp_path, own=nothing, shadow_data="marginal", marginals=str(tmp_path / "m.npz"))
    np.testing.assert_array_equal(data.pool.x, np.broadcast_to(share.astype(np.uint8), (4 * M, F)))


@pytest.mark.integration
def test_searched_records_are_the_targets(tmp_path):
    data = obtain(tmp_path, own=None, shadow_data="search")
    assert np.bincount(data.pool.y).tolist() == [11, 11, 10] == data.info["accepted"]
    np.testing.assert_array_equal(data.pool.y, np.argmax(TARGET.ask(data.pool.x), axis=1))
    assert data.info["queries"] == pytest.approx(4 * M * data.info["queries_per_record"])
    assert data.plan.train.shape == (S, M)


def test_classes_as_the_target_answers(tmp_path):
    """And what it costs to find out is counted."""
    given = dict(own=None, shadow_data="search", class_prior="target")
    data = obtain(tmp_path, **given)
    x = np.array(np.meshgrid(*[[0, 1]] * F)).reshape(F, -1).T  # every record there is
    share = np.exp(np.asarray(TARGET.ask(x))).mean(axis=0)
    np.testing.assert_allclose(np.bincount(data.pool.y, minlength=C) / (4 * M), share, atol=0.05)
    assert data.info["queries"] >= 4 * M + PRIOR_QUERIES


@pytest.mark.parametrize("way", ["marginal", "search"])
def test_no_more_is_asked_than_allowed(tmp_path, way):
    budget, told = Budget(), []
    given = dict(target=lambda: budgeted(TARGET, budget), shadow_data=way, shadow_records=4 * M, notify=told.append)
    data = obtain(tmp_path, max_queries=35, m=20, **given)
    assert data.info["queries"] == budget.spent <= 35
    m = len(data.pool.y) // 2
    assert data.plan.train.shape == (S, m) and 0 < m < 20
    assert told[-1] == f"Only {len(data.pool.y)} records were synthesized: shadows train on {m} each"
    with pytest.raises(BudgetSpent, match="raise `max_queries`"):
        obtain(tmp_path / "new", max_queries=1, **given)


@pytest.mark.integration
def test_a_larger_budget_goes_on_where_the_smaller_ended(tmp_path):
    given = dict(shadow_data="search", own=None)
    whole = obtain(tmp_path / "whole", **given)
    with pytest.raises(BudgetSpent):
        obtain(tmp_path, max_queries=2, **given)
    again = obtain(tmp_path, **given)
    np.testing.assert_array_equal(again.pool.x, whole.pool.x)
    assert again.digest == whole.digest and again.info == whole.info


@pytest.mark.integration
def test_classes_that_cannot_be_found_are_told(tmp_path):
    told = []
    blind = Target(lambda x: np.tile(np.log([[0.9, 0.09, 0.01]]), (len(x), 1)), Answers(C), traced=False)
    data = obtain(tmp_path, target=lambda: blind, own=None, shadow_data="search", iter_max=20, notify=told.append)
    assert data.info["given_up"] == [1, 2] and data.info["accepted"] == [4 * M, 0, 0]
    assert told[-1] == "warning: no record of class 1, 2 could be found; other classes got theirs"


@pytest.mark.parametrize(("changed", "reason"), [
    (dict(shadow_data="noisy", noise=1.5), "`noise=1.5` must be from 0 to 1"),
    (dict(shadow_data="search", k_min=5, k_max=3), "`k_min=5` must not be above `k_max=3`"),
    (dict(shadow_data="search", conf_min=1.0), "`conf_min=1.0` must be below 1"),
    (dict(shadow_data="marginal", marginals="nowhere.npz"), "there is no file nowhere.npz"),
])  # fmt: skip
def test_what_cannot_work_is_refused_before(changed, reason):
    with pytest.raises(InputError, match=reason):
        shadow_data.check(Config(**changed), SCHEMA)
    shadow_data.check(Config(**(changed | {"shadow_data": "real"})), SCHEMA)  # where it plays no part


def test_what_the_adversary_must_have():
    needed = {
        way: shadow_data.needed_records(Config(shadow_data=way), 10) for way in ("real", "noisy", "marginal", "search")
    }
    assert needed == {"real": 20, "noisy": 20, "marginal": 0, "search": 0}


def test_too_few_of_ones_own(tmp_path):
    with pytest.raises(InputError, match="needs 80 records, but its pool holds 60; use train_size=30 or less"):
        obtain(tmp_path, m=40)


@pytest.mark.parametrize(("given", "needed", "words"), [
    (dict(shadow_data="marginal"), C, "`shadow_data=marginal` needs 3 at least; raise it"),
    (dict(shadow_data="search"), C, "`shadow_data=search` needs 3 at least; raise it"),
    (dict(shadow_data="search", class_prior="target"), PRIOR_QUERIES + C,
     "needs 4,099 at least, 4,096 of them for `class_prior=target`; raise it or leave `class_prior` out"),
])  # fmt: skip
def test_a_budget_that_cannot_do_is_refused_before_the_target_is_trained(given, needed, words):
    with pytest.raises(InputError, match=f"`max_queries={needed - 1}` is too few: .*{words}$"):
        shadow_data.check_budget(Config(max_queries=needed - 1, **given), M, C)
    shadow_data.check_budget(Config(max_queries=needed, **given), M, C)
    shadow_data.check_budget(Config(**given), M, C)
