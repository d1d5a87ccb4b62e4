"""Pipelines that pick columns by name: on a table they are given its columns again, as a data frame."""

import numpy as np
import pytest

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.config import BalancedConfig
from mia_jax.targets import estimators, named_columns, platforms

pandas = pytest.importorskip("pandas")

N = 60
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "age": np.where(np.arange(N) % 9 == 0, np.nan, RNG.integers(18, 80, N)),
        "town": np.where(np.arange(N) % 7 == 0, None, np.array(["Ulm", "Bonn", "Kiel"])[np.arange(N) % 3]),
        "married": RNG.random(N) < 0.5,
    }
)
LABEL = np.array(["no", "yes"])[RNG.integers(0, 2, N)]
MODULE = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

steps = make_column_transformer(
    (SimpleImputer(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough"
)
pipeline = make_pipeline(steps, RandomForestClassifier(10))
plain = make_pipeline(SimpleImputer(), RandomForestClassifier(10))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "by_name.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "sklearn:by_name.pipeline"


def test_a_table_becomes_its_columns_again():
    records, schema = mia.records(FRAME, LABEL, notify=lambda line: None)
    again = named_columns.frame(records.x, schema.fields)
    assert [*again.columns] == [*FRAME.columns]
    np.testing.assert_array_equal(again["age"], FRAME["age"].astype(np.float32))
    assert again["town"].isna().tolist() == FRAME["town"].isna().tolist()
    assert again["town"].dropna().tolist() == FRAME["town"].dropna().tolist()
    assert again["married"].tolist() == FRAME["married"].tolist()


def test_who_picks_columns_by_name(module):
    assert estimators.wants_names(module) and estimators.takes_nan(module)
    assert not estimators.wants_names("sklearn:by_name.plain") and not estimators.wants_names("nn")


def test_a_pipeline_by_name_is_trained_on_a_table(module):
    """As it is by itself on the data frame."""
    from sklearn.base import clone

    records, schema = mia.records(FRAME, LABEL, notify=lambda line: None)
    made = named_columns.with_names(platforms.platform(module, 2), schema)
    [target] = made.fit_many(records, np.arange(N)[None], seeds=[3])
    alone = clone(estimators.instance(module.removeprefix("sklearn:")))
    alone.set_params(randomforestclassifier__random_state=3).fit(FRAME.assign(married=FRAME.married.astype(int)), LABEL)
    expected = alone.predict_proba(FRAME.assign(married=FRAME.married.astype(int)))
    np.testing.assert_allclose(np.exp(target.ask(records.x)), expected, atol=0.011)


@pytest.mark.integration
def test_an_audit_of_a_file_with_missing_values(module, tmp_path, no_pages):
    FRAME.assign(label=LABEL).to_csv("mine.csv", index=False)
    config = dict(dataset="mine.csv", num_models=4, num_targets=1, attacks="loss", workdir=str(tmp_path / "w"))
    found = audits.run(BalancedConfig(target_kind=module, **config))
    assert found["attacks"]["loss"]["auc"]["value"] > 0.6 and found["dataset"]["class_names"] == ["no", "yes"]
    assert not any("filled in" in note for note in found["dataset"]["notes"])
