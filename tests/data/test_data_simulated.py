"""k-means against a plain loop; the look-alikes: what they are, that they repeat, and (slow) how hard they are."""

import jax
import numpy as np
import optax
import pytest
from archives import bits

from mia_jax import data
from mia_jax.data import cluster, simulated
from mia_jax.models import networks
from mia_jax.training import many, single
from mia_jax.types import InputError

# --- k-means ---------------------------------------------------------------------------------------------------------


def blobs(n=300, f=40, c=5, seed=0):
    """Bits around c well-separated prototypes, and which one."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    flip = rng.random((n, f)) < 0.1
    return (rng.integers(0, 2, (c, f))[y] ^ flip).astype(np.uint8), y


def plain_lloyd(x, centers, rounds):
    for _ in range(rounds):
        y = np.array([np.argmin([((row - center) ** 2).sum() for center in centers]) for row in x.astype(float)])
        centers = np.array([x[y == k].mean(axis=0) for k in range(len(centers))])
    return centers, y


@pytest.mark.parametrize("block", [64, 1024])
def test_lloyd_equals_a_plain_loop(monkeypatch, block):
    monkeypatch.setattr(cluster, "_BLOCK", block)
    x, _ = blobs()
    start = x[:5] * 0.5 + 0.25
    for rounds in (1, 2, 7):
        centers, y = cluster.lloyd(x, start, rounds)
        expected_centers, expected_y = plain_lloyd(x, start, rounds)
        np.testing.assert_array_equal(y, expected_y)
        np.testing.assert_allclose(centers, expected_centers, atol=2**-18)  # rounded: 40 features leave 18 bits


def test_distances_are_exact_whatever_the_order_of_the_sum():
    x = bits(200, 600)
    centers = cluster.rounded_to_exact_sums(np.random.default_rng(1).random((7, 600)), 600)
    forward, backward = x.astype(np.float32) @ centers.T, x[:, ::-1].astype(np.float32) @ centers[:, ::-1].T
    np.testing.assert_array_equal(forward, backward)
    np.testing.assert_array_equal(forward, x.astype(np.float64) @ centers.T.astype(np.float64))


def test_kmeans_finds_clusters_and_repeats(monkeypatch):
    x, truth = blobs(n=600)
    y = cluster.kmeans(x, 5, seed=0)
    assert y.dtype == np.int32
    assert len({*zip(y.tolist(), truth.tolist(), strict=True)}) == 5  # the same partition, with other names
    np.testing.assert_array_equal(y, cluster.kmeans(x, 5, seed=0))
    monkeypatch.setattr(cluster, "_SAMPLE", 100)  # the rest only joins in at the end
    assert len({*zip(cluster.kmeans(x, 5, seed=1).tolist(), truth.tolist(), strict=True)}) == 5


def test_kmeans_of_shoppers_is_as_good_as_that_of_scikit_learn():
    from sklearn.cluster import KMeans

    x = simulated.simulate_habits(np.random.default_rng(0), 1000, 600, simulated.PURCHASE)

    def within(y):
        return sum(((x[y == k] - x[y == k].mean(axis=0)) ** 2).sum() for k in range(20))

    theirs = within(KMeans(20, n_init=1, random_state=0).fit(x.astype(float)).labels_)
    assert within(cluster.kmeans(x, 20, seed=0)) < 1.01 * theirs


@pytest.mark.parametrize(("n", "distinct", "classes"), [(40, 40, 40), (30, 3, 10), (8, 1, 8), (200, 200, 1)])
def test_no_cluster_is_empty(n, distinct, classes):
    x = np.resize(bits(distinct, 50), (n, 50)).astype(np.uint8)
    assert np.bincount(cluster.kmeans(x, classes, seed=0), minlength=classes).min() > 0


def test_fewer_records_than_clusters_are_refused():
    with pytest.raises(InputError, match="8 records do not make 9 classes"):
        cluster.kmeans(bits(8, 5), 9, seed=0)


# --- the look-alikes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["location", *(pytest.param(name, marks=pytest.mark.integration) for name in ("texas", "purchase100"))]
)
def test_simulated(name):
    said, dataset = [], data.DATASETS[name]
    records, schema = data.load(name, source="simulated", notify=said.append)
    assert said[0].startswith(f"SIMULATED: {dataset.title}")
    assert records.x.shape == (dataset.records, *dataset.shape) and records.x.dtype == np.uint8
    assert records.y.shape == (dataset.records,) and records.y.dtype == np.int32
    assert schema.source == "simulated" and schema.notes[0].startswith("SIMULATED, seed 0: ")
    assert "calibrated" in schema.notes[0] and schema.notes[0].endswith(".")
    assert ("k-means" in " ".join(schema.notes)) == (name != "texas")  # the procedure was the class
    assert not any("published" in note for note in schema.notes)  # as many records as published
    ones, sizes = records.x[:2000].sum(axis=1, dtype=int), np.bincount(records.y)
    assert records.x[:2000].max() == 1 and 5 < ones.mean() < dataset.shape[0] / 4 and ones.min() > 0
    assert len(sizes) == dataset.classes and sizes.min() > 0.1 * dataset.records / dataset.classes
    if name == "texas":
        assert sizes.max() > 10 * sizes.min()
    again, found = data.load(name, source="simulated")
    assert found == schema
    np.testing.assert_array_equal(again.y, records.y)


def test_same_seed_same_people():
    x, y, notes = simulated.simulate("location", seed=0)
    assert y is None  # classes are clusters, as the original's
    again, _, same = simulated.simulate("location", seed=0)
    np.testing.assert_array_equal(again, x)
    other, _, differs = simulated.simulate("location", seed=1)
    assert same == notes and differs != notes and (other != x).mean() > 0.05
    load = [data.load("location", source="simulated", seed=seed)[1].digest for seed in (0, 1, 0)]
    assert load[0] == load[2] != load[1]


def test_unknown_look_alike_is_refused():
    with pytest.raises(InputError, match="no simulation of 'mnist'; use purchase, texas, location"):
        simulated.simulate("mnist", seed=0)


def test_all_class_counts_of_purchase_are_clusters_of_the_same_shoppers(monkeypatch):
    people = simulated.simulate_habits(np.random.default_rng(0), 1000, 600, simulated.PURCHASE)
    monkeypatch.setitem(simulated._MAKERS, "purchase", (lambda rng: (people, None), "a few."))
    for classes in (2, 10, 20, 50, 100):
        records, schema = data.load(f"purchase{classes}", source="simulated")
        assert np.bincount(records.y).min() > 0 and schema.num_classes == records.y.max() + 1 == classes
        np.testing.assert_array_equal(records.x, people)


# --- what they are calibrated to -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train_size", "low", "high"),
    [("purchase100", 10_000, 0.60, 0.74), ("texas", 10_000, 0.50, 0.60), ("location", 1_200, 0.52, 0.63)],
)
def test_accuracy_of_the_papers_network(name, train_size, low, high):
    records, schema = data.load(name, source="simulated")
    rows = np.random.default_rng(0).permutation(len(records.x))[: 2 * train_size].astype(np.int32)
    pool = type(records)(records.x[rows], records.y[rows])
    index = np.arange(2 * train_size, dtype=np.int32).reshape(2, train_size)  # each one's test set is the other's own
    model = networks.mlp(schema.num_classes)
    trainer = single.make_trainer(model, optax.adam(1e-3), 100)
    params, _ = many.fit_many(trainer, jax.random.split(jax.random.key(0), 2), pool, index, 100)
    log_p = jax.vmap(lambda params: single.predict(model, params, pool.x))(params)
    right = (np.asarray(log_p).argmax(axis=-1) == pool.y)[:, index]  # [model, half, record]
    assert right[[0, 1], [0, 1]].mean() > 0.99  # overfitted, as the paper's are
    assert low <= right[[0, 1], [1, 0]].mean() <= high, right.mean(axis=-1)
