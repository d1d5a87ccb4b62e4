"""Records drawn from marginals: each attribute as often as the table says, labels as the target says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import schemas
import scipy.stats

from mia_jax.synthesis import marginal
from mia_jax.types import Answers, Field, InputError, Records, Schema, Target

MIXED = schemas.mixed(3)
JOB, FLAGS, SEX = [0.5, 0.3, 0.0, 0.2], [0.0, 1.0, 0.1, 0.6], [0.9, 0.1]


def mixed(n=900, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.beta(2, 5, (n, 1)) * 5 - 2, np.eye(4)[rng.choice(4, n, p=JOB)], rng.random((n, 4)) < FLAGS
    parts += np.eye(2)[rng.choice(2, n, p=SEX)], rng.choice([3, 7, 200], (n, 1))
    return Records(np.concatenate(parts, axis=1).astype(np.float32), rng.integers(0, 3, n).astype(np.int32))


def target(asked=None):
    w = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    w[11] /= 100  # pixels are large

    def ask(x):
        if asked is not None:
            asked.append(len(x))
            assert isinstance(x, np.ndarray)
        return jax.nn.log_softmax((jnp.asarray(x, jnp.float32) - 0.5) @ w)

    return Target(ask, Answers(3), traced=asked is None)


def table(**changed):
    share = np.zeros(12)
    share[1:11] = JOB + FLAGS + SEX
    return marginal.Marginals(**{"share": share, "values": np.array([[0.5, 7], [2.5, 9]], np.float32), **changed})


def sample(table, n=4000, **options):
    return marginal.sampler(target(), MIXED, table, **options)(jax.random.key(0), n)


def test_marginals_are_counted():
    records = mixed()
    found = marginal.marginals(records, MIXED)
    np.testing.assert_allclose(found.share[1:11], records.x[:, 1:11].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found.values, np.sort(records.x[:, [0, 11]], axis=0))
    fewer = marginal.marginals(records, MIXED, max_values=100)
    assert fewer.values.shape == (100, 2)
    assert scipy.stats.kstest(fewer.values[:, 0], records.x[:, 0]).statistic <= 0.0101
    constant = Records(np.full((10, 12), 1, np.float32), np.zeros(10, np.int32))
    assert (marginal.marginals(constant, MIXED).values == 1).all()


def test_marginals_are_realized_each_independent_of_the_others():
    n = 4000
    (x, _), _ = sample(table(), n)
    for columns, share in ((slice(1, 5), JOB), (slice(9, 11), SEX)):
        group, share = x[:, columns], np.array(share)
        assert (group.sum(axis=1) == 1).all() and not group[:, share == 0].any()
        assert scipy.stats.chisquare(group.sum(axis=0)[share > 0], n * share[share > 0]).pvalue > 1e-4
    np.testing.assert_allclose(x[:, 5:9].mean(axis=0), FLAGS, atol=0.04)
    assert not x[:, 5].any() and x[:, 6].all()
    for column, values in ((0, [0.5, 2.5]), (11, [7, 9])):
        seen, counts = np.unique(x[:, column], return_counts=True)
        assert seen.tolist() == values and scipy.stats.chisquare(counts).pvalue > 1e-4
    varying = x[:, [0, 1, 2, 7, 8, 9, 11]]
    r = np.corrcoef(varying.T)
    r[1, 2] = r[2, 1] = 0  # categories of one attribute
    assert np.abs(r - np.eye(7)).max() < 5 / np.sqrt(n)


def test_labels_are_the_answers_of_the_target():
    (x, y), story = sample(table(), 500)
    np.testing.assert_array_equal(y, np.asarray(target().ask(jnp.asarray(x))).argmax(axis=1))
    assert y.dtype == np.int32 and story.queries == 500
    np.testing.assert_array_equal(story.answered, np.bincount(y, minlength=3))
    assert (story.answered > 0).sum() > 1


def test_a_host_target_is_asked_once_per_record_and_gives_the_same():
    asked = []
    found, story = marginal.sampler(target(asked), MIXED, table(), batch=200)(jax.random.key(0), 500)
    assert asked == [200, 200, 100] and story.queries == 500
    for batch in (64, 200, 1024):
        expected, _ = sample(table(), 500, batch=batch)
        np.testing.assert_array_equal(found.x, expected.x)
        np.testing.assert_array_equal(found.y, expected.y)


def test_bits_stay_bytes_and_images_keep_their_shape():
    fields = (Field("bits", "binary", 0, 4), Field("pixels", "pixel", 4, 12, 0.0, 255.0))
    schema = MIXED._replace(shape=(2, 2, 3), fields=fields)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 2, (50, 4)), rng.integers(0, 256, (50, 8))], axis=1)
    pool = Records(x.astype(np.uint8).reshape(50, 2, 2, 3), np.zeros(50, np.int32))
    ask = lambda x: jax.nn.log_softmax(jnp.asarray(x, jnp.float32).reshape(len(x), 12)[:, 4:7] / 50)  # noqa: E731
    found, _ = marginal.sampler(Target(ask, Answers(3)), schema, marginal.marginals(pool, schema))(
        jax.random.key(0), 30
    )
    assert found.x.dtype == np.uint8 and found.x.shape == (30, 2, 2, 3)
    for column, old in zip(found.x.reshape(30, 12).T, x.T, strict=True):
        assert set(column) <= set(old)


def test_a_table_survives_its_file(tmp_path):
    path, counted = tmp_path / "marginals.npz", marginal.marginals(mixed(), MIXED)
    marginal.save_marginals(path, counted)
    loaded = marginal.load_marginals(path, MIXED)
    np.testing.assert_allclose(loaded.share, counted.share, rtol=1e-6)
    np.testing.assert_array_equal(loaded.values, counted.values)


def test_a_table_of_bits_is_one_array(tmp_path):
    schema = Schema("bits", "local", "0", 3, (12,), (Field("bits", "binary", 0, 12),))
    np.savez(tmp_path / "mine.npz", share=np.linspace(0, 1, 12))
    loaded = marginal.load_marginals(tmp_path / "mine.npz", schema)
    (x, _), _ = marginal.sampler(target(), schema, loaded)(jax.random.key(0), 2000)
    np.testing.assert_allclose(x.mean(axis=0), np.linspace(0, 1, 12), atol=0.05)


def test_rounded_shares_are_put_right():
    rounded = table().share.copy()
    rounded[1:5] = [0.333, 0.333, 0.333, 0]
    found = marginal.check_marginals(table(share=rounded), MIXED)
    np.testing.assert_allclose(found.share[1:5], [1 / 3, 1 / 3, 1 / 3, 0])
    (x, _), _ = sample(table(share=rounded), 500)
    assert (x[:, 1:5].sum(axis=1) == 1).all()


def with_share(column, value):
    share = table().share.copy()
    share[column] = value
    return dict(share=share)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (dict(share=np.zeros(11)), "per column"),
        (dict(share=np.array(["0.5"] * 12)), "numbers"),
        (with_share(6, 1.5), "column 6"),
        (with_share(7, -0.1), "column 7"),
        (with_share(8, np.nan), "column 8"),
        (with_share(2, 0.6), "columns 1 to 4"),
        (dict(values=np.zeros((3, 1), np.float32)), r"\[v, 2\]"),
        (dict(values=np.zeros((0, 2), np.float32)), r"\[v, 2\]"),
        (dict(values=np.array([[0.0, 0], [4, 0]])), "column 0 has the value 4"),
        (dict(values=np.array([[0.0, np.nan]])), "column 11"),
        (dict(values=np.array([[0.0, 256]])), "outside its range"),
        (dict(values=np.array([[0.0, 7.5]])), "whole"),
    ],
)
def test_tables_that_cannot_be_marginals_are_refused(tmp_path, changed, words):
    with pytest.raises(InputError, match=words):
        marginal.sampler(target(), MIXED, table(**changed))
    marginal.save_marginals(tmp_path / "bad.npz", table(**changed))
    with pytest.raises(InputError, match=f"bad.npz.*{words}"):
        marginal.load_marginals(tmp_path / "bad.npz", MIXED)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        marginal.load_marginals(tmp_path / "nowhere.npz", MIXED)
    (tmp_path / "text.npz").write_text("share,0.5")
    with pytest.raises(InputError, match=r"not an \.npz file; write"):
        marginal.load_marginals(tmp_path / "text.npz", MIXED)
    np.savez(tmp_path / "other.npz", p=np.zeros(12))
    with pytest.raises(InputError, match="'share'"):
        marginal.load_marginals(tmp_path / "other.npz", MIXED)
    with pytest.raises(InputError, match="cannot be written"):
        marginal.save_marginals(tmp_path / "nowhere" / "x.npz", table())


def test_records_of_another_schema_are_refused():
    for x in (np.zeros((0, 12)), np.zeros((5, 11))):
        with pytest.raises(InputError, match="shape"):
            marginal.marginals(Records(x, np.zeros(len(x), np.int32)), MIXED)
