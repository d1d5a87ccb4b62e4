"""Values that members and others have in two ways of writing are told; honest columns are not."""

import re

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import mia_jax as mia
from mia_jax.data import two_spellings

pandas = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
ZIPS = RNG.integers(1000, 9999, 60)[RNG.integers(60, size=400)]
MEMBER = RNG.permutation(400) < 200
CITIES = np.array(["Ulm", "Bonn", "Kiel", "Berlin"])[RNG.integers(4, size=400)]
OTHER_WAY = {
    "a float's": lambda text: f"{text}.0",
    "zeros in front": lambda text: f"0{text}",
    "spaces": lambda text: f"{text} ",
}


def written(way, member=MEMBER):
    return np.array([str(zip_) if mine else OTHER_WAY[way](str(zip_)) for zip_, mine in zip(ZIPS, member, strict=True)])


@pytest.mark.parametrize("way", OTHER_WAY)
@pytest.mark.parametrize("kind", ["frame", "category", "array"])
def test_two_ways_of_writing_on_two_sides_are_told(way, kind):
    frame = pandas.DataFrame({"zip": written(way), "age": RNG.integers(90, size=400)})
    if kind == "category":
        frame = frame.astype({"zip": "category"})
    x = frame if kind != "array" else frame.to_numpy()
    (said,) = two_spellings.notes(x, MEMBER)
    assert ("In the column zip members" if kind != "array" else "In column 0 of x members") in said
    one, other = re.search(r"another: '(.*)' and '(.*)' \(\d+ more such values\)", said).groups()
    assert one in written(way)[MEMBER] and other == OTHER_WAY[way](one)


@pytest.mark.parametrize("seed", range(20))
def test_honest_columns_are_not(seed):
    rng = np.random.default_rng(seed)
    member = rng.permutation(400) < 200
    mixed = written("a float's", rng.permutation(400) < 200)  # two ways, whoever is a member
    by_zip = np.isin(ZIPS, rng.permutation(np.unique(ZIPS))[:30])  # members drawn by the zip
    rare = np.where(rng.random(400) < 0.01, np.char.lower(CITIES), CITIES)
    for x, mine in (
        ({"zip": written("spaces", np.zeros(400, bool))}, member),
        ({"zip": mixed}, member),
        ({"zip": mixed}, by_zip),
        ({"city": CITIES, "zip": ZIPS.astype(str)}, by_zip),
        ({"city": rare}, member),
    ):
        assert two_spellings.notes(pandas.DataFrame(x), mine) == []
    assert two_spellings.notes(pandas.DataFrame({"zip": written("spaces")}), None) == []


def test_an_audit_says_it_with_shadows_and_without():
    frame, y = pandas.DataFrame({"zip": written("a float's"), "city": CITIES}), RNG.integers(2, size=400)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), RandomForestClassifier(8, random_state=0))
    target = model.fit(frame[MEMBER], y[MEMBER])
    for shadows in ({}, {"shadows": model, "num_shadows": 4}):
        report = mia.audit(target, frame, y, MEMBER, attacks="loss", **shadows)
        assert any("In the column zip members" in note for note in report.notes)
