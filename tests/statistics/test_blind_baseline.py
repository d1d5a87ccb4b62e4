"""The blind baseline: folds, what it finds where the split is confounded, and how often it accuses random splits."""

import numpy as np
import pytest

from mia_jax import data
from mia_jax.data import duplicates
from mia_jax.statistics import blind_baseline
from mia_jax.statistics.blind_baseline import blind, folds

pytestmark = pytest.mark.usefixtures("whole_audits")


def test_folds_are_stratified_and_copies_are_in_one():
    rng = np.random.default_rng(0)
    group = np.unique(rng.integers(300, size=500), return_inverse=True)[1]
    member = rng.random(500) < 0.3
    fold = folds(rng, member, group)
    assert all(len({*fold[group == g]}) == 1 for g in range(group.max() + 1))
    shares = [member[fold == k].mean() for k in range(blind_baseline.FOLDS)]
    sizes = np.bincount(fold)
    assert np.ptp(shares) < 0.08 and np.ptp(sizes) <= 8


def test_copies_do_not_teach_who_is_a_member():
    """Each record is there twice, on one side: whoever has its copy in training knows the answer."""
    rng = np.random.default_rng(1)
    x, member = np.repeat(rng.normal(size=(300, 3)), 2, axis=0), np.repeat(rng.random(300) < 0.5, 2)
    names, copies = list("abc"), duplicates.groups(x)
    apart = blind(x, names, None, member, copies=copies)
    assert not apart.told and blind(x, names, None, member).told  # which is why copies are kept together
    once = blind(x[::2], names, None, member[::2])
    width = [found.auc.high - found.auc.low for found in (apart, once)]
    assert 0.85 < width[0] / width[1] < 1.15  # twice the rows are no more evidence


def test_labels_missing_values_and_wide_tables_tell(monkeypatch):
    rng = np.random.default_rng(2)
    member = np.arange(600) % 2 == 0
    label = np.where(member, rng.integers(0, 8, 600), rng.integers(2, 10, 600))
    noise = rng.normal(size=(600, 2))
    found = blind(noise, ["a", "b"], label, member)
    assert found.told and found.columns[0][0] == "the label"
    lacking = noise.copy()
    lacking[member & (rng.random(600) < 0.4), 1] = np.nan
    assert blind(lacking, ["a", "b"], None, member).told
    monkeypatch.setattr(blind_baseline, "COLUMNS", 6)
    wide = rng.normal(size=(600, 30))
    wide[:, 17] += member
    wide[:, 3], wide[:5, 4] = np.nan, np.inf  # a column without a value, and some that are none
    found = blind(wide, [str(k) for k in range(30)], None, member)
    assert found.told and found.columns[0][0] == "17"


def test_few_records_give_a_reason():
    found = blind(np.zeros((80, 2)), ["a", "b"], None, np.arange(80) < 40)
    assert found.auc.value is None and "fewer than 50" in found.auc.reason and not found.told


def test_columns_without_a_value_or_of_one_value_tell_nothing():
    member = np.arange(200) % 2 == 0
    for x in (np.full((200, 1), np.nan), np.full((200, 1), 7.0), np.full((200, 1), np.inf), np.zeros((200, 0))):
        assert not blind(x, ["a"][: x.shape[1]], np.arange(200) % 3, member).told
    assert blind(np.full((200, 1), np.nan), ["a"], None, member).auc.value == 0.5


def test_many_records_are_sampled(monkeypatch):
    monkeypatch.setattr(blind_baseline, "RECORDS", 300)
    rng = np.random.default_rng(3)
    member = rng.random(1000) < 0.25
    found = blind(rng.normal(size=(1000, 2)) + 2 * member[:, None], ["a", "b"], None, member)
    looked = ~np.isnan(found.score)
    assert found.told and looked.sum() == 300 and abs(member[looked].mean() - member.mean()) < 0.01


def _adult(data_dir):
    records, schema = data.load("adult", data_dir=data_dir, source="official")
    return np.asarray(records.x, np.float32), np.asarray(records.y), [f.name for f in schema.fields]


@pytest.mark.data
@pytest.mark.slow
def test_a_split_of_adult_by_age_is_told_and_random_ones_are_accused_in_five_of_a_hundred(data_dir):
    x, y, names = _adult(data_dir)
    columns = [str(k) for k in range(x.shape[1])]
    told, outside = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(y), 1000, replace=False)
        member = rng.permutation(1000) < 500
        found = blind(x[rows], columns, y[rows], member, copies=duplicates.groups(x[rows]), seed=seed)
        told.append(found.told)
        outside.append(not found.auc.low <= 0.5 <= found.auc.high)
    print(f"of 200 random splits of 1,000 records told {sum(told)}, with .5 outside of the interval {sum(outside)}")
    assert sum(told) <= 10 and sum(outside) <= 20
    age = x[:4000, names.index("age")]
    found = blind(x[:4000], columns, y[:4000], age < np.median(age))
    print("by age", found.auc)
    assert found.told and found.auc.low > 0.95 and found.columns[0][0] == str(names.index("age"))
