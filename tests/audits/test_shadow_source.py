"""No shadow of a deployed model trains on a record that is asked about, nor on a copy of one."""

import jax
import numpy as np
import pytest
from archives import bits, cycle

from mia_jax.audits import shadow_data
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import records, shadow_source
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import Run
from mia_jax.data import duplicates
from mia_jax.plans import splits
from mia_jax.progress import silent
from mia_jax.storage import artifacts
from mia_jax.targets import black_box
from mia_jax.types import Answers, Field, InputError, Records, Schema

N, C = 60, 3
ROOT = jax.random.key(3)
CONFIG = DeployedConfig(target="http://a.test/", data="mine.npz")
SCHEMA = Schema("mine", "local", "", C, (12,), ())


def question(rows, member):
    """Records of which ``rows`` says the values."""
    x = np.unique(bits(400, 12, seed=1), axis=0)[rows]
    return records.Question(Records(x, cycle(len(rows), C)), x, np.asarray(member, bool), SCHEMA)


def keys(x):
    return {row.tobytes() for row in np.asarray(x)}


def test_each_non_member_twice_and_copies_of_members():
    """Copies are set aside together or not at all; those of members never are."""
    rows = np.concatenate([np.arange(20), np.arange(20, 50), np.arange(20, 50), [3, 4], np.full(5, 55)])
    asking = question(rows, np.arange(len(rows)) < 20)
    aside, asked = shadow_source.set_aside(CONFIG, ROOT, asking)
    assert not keys(asking.records.x[aside]) & keys(asking.records.x[asked])
    np.testing.assert_array_equal(np.sort(np.concatenate([aside, asked])), np.arange(len(rows)))
    assert 28 <= len(aside) <= (60 + 2 + 5) // 2 and set(asked) >= {*range(20), 80, 81}


def test_without_copies_the_half_is_the_one_that_it_was():
    asking = question(np.arange(N), np.arange(N) < 20)
    aside, _ = shadow_source.set_aside(CONFIG, ROOT, asking)
    first, _ = splits.reserve(stage_key(ROOT, "aside"), 40, 20)
    np.testing.assert_array_equal(aside, np.sort(20 + first))


def test_a_file_of_copies_of_members_leaves_nothing_to_set_aside():
    rows = np.concatenate([np.arange(30), np.arange(30)])
    aside, asked = shadow_source.set_aside(CONFIG, ROOT, question(rows, np.arange(N) < 30))
    assert len(aside) == 0 and len(asked) == N


@pytest.mark.parametrize("way", ["noisy", "marginal"])
def test_synthesized_records_under_question_are_left_out(tmp_path, way):
    """A small domain is hit upon: here four bits, half of whose values are asked about."""
    x = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.uint8)
    asked, own = x[:8], Records(np.tile(x, (4, 1)), cycle(64, C))
    schema = Schema("mine", "local", "", C, (4,), (Field("bits", "binary", 0, 4),))
    config = DeployedConfig(target="http://a.test/", data="mine.npz", shadow_data=way, num_shadows=2, noise=0.0)
    target = black_box.Target(lambda x: np.full((len(x), C), -np.log(C), np.float32), Answers(C), traced=False)
    told = []
    with artifacts.open_workdir(tmp_path / "run", {}) as workdir:
        run = Run(config, config, workdir, ROOT, told.append, silent, {})
        about = {"target": config.target, "data": schema.digest}
        adversary = shadow_data.Adversary(own, schema, 16, lambda: target, about)
        pool, digest, plan, origin, info = shadow_source.obtain(run, config, adversary, asked)
        assert digest == artifacts.array_digest(*pool)
        assert not keys(pool.x) & keys(asked) and keys(pool.x) <= keys(x[8:])
        assert plan.train.shape == (2, min(16, len(pool.y) // 2)) and plan.train.max() < len(pool.y)
        assert origin == way and info["under_question"] > 10
        assert any(line.startswith(f"{info['under_question']} of the synthesized records are under") for line in told)
        with pytest.raises(InputError, match=r"all but 0 of \d+ synthesized records are under question"):
            shadow_source.obtain(run, config, adversary, x)


def test_copies_are_counted_and_what_they_do_is_said():
    x = np.array([[1, 2], [3, 4], [1, 2], [0, 0], [3, 4], [1, 2]], np.float32)
    x[3] = [-0.0, 0.0]
    group = duplicates.groups(np.concatenate([x, [[0.0, -0.0]]]))
    np.testing.assert_array_equal(group, [0, 1, 0, 2, 1, 0, 2])
    assert duplicates.note(duplicates.groups(np.arange(6)[:, None])) is None
    assert duplicates.note(group).startswith(
        "7 of the 7 records have an exact copy among them (3 different). Where one copy trained"
    )
    said = duplicates.note(group, [True, True, False, False, True, True, False])
    assert "1 of the non-members are copies of members" in said
    assert "non-members" not in duplicates.note(group, [True, True, True, False, True, True, False])
