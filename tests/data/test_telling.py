"""Columns that tell the label, or whose records several are, are named."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_classification
from sklearn.ensemble import RandomForestClassifier

import mia_jax as mia
from mia_jax.data import telling

N = 600
X, Y = make_classification(N, 12, n_informative=6, n_classes=3, flip_y=0.2, random_state=0)
RNG = np.random.default_rng(0)


def test_scores_of_an_earlier_model_and_outcomes_are_named():
    """An audit found no leak, with no word: models leaned on one column and remembered little else."""
    y = (Y > 0).astype(int)
    score = RandomForestClassifier(100, random_state=0).fit(X, y).predict_proba(X)[:, 1].round(3)
    paid = np.where(y == 1, RNG.lognormal(5, 1, N).round(2), 0.0)
    nearly = np.where(RNG.random(N) < 0.01, RNG.permutation(score), score)
    for column in (score, paid, nearly):
        (note,) = telling.of_records(np.c_[X, column], y)
        assert note.startswith("Column 12 of x nearly tells the label") and "np.delete(x, 12, axis=1)" in note
    classes = 10.0 * ((Y + 1) % 3) + RNG.normal(size=N)
    assert "Column 12 of x" in telling.of_records(np.c_[X, classes], Y)[0]
    out_of_fold = RandomForestClassifier(100, random_state=0).fit(X[::2], y[::2]).predict_proba(X)[:, 1]
    assert telling.of_records(np.c_[X, out_of_fold][1::2], y[1::2]) == []


@pytest.mark.parametrize("kind", ["number", "text"])
def test_numbers_of_persons_are_named(kind):
    """Of panel data split record by record nothing was said."""
    pd = pytest.importorskip("pandas")
    person = np.repeat(np.arange(N // 5), 5)[RNG.permutation(N)]
    label = np.random.default_rng(1).integers(3, size=N // 5)[person]
    values = person if kind == "number" else np.array([f"c{k}" for k in person], object)
    frame = pd.DataFrame(X).rename(columns=str).assign(who=values)
    (note,) = telling.of_records(frame, label)
    assert note.startswith("Column who has 120 values with 5.0 records each, and one label for each value")
    assert "x.drop(columns='who')" in note and "give both to mia.audit" in note
    assert telling.of_records(frame, Y) == []  # as a town
    (note,) = telling.of_records(frame.rename(columns={"who": "customer_id"}), Y)
    assert note.startswith("Column customer_id has 120 values with 5.0 records each, as the number of a person")


def test_columns_of_any_kind():
    """Names that are no text, lists and gaps in cells, numbers of their own, many rows of few values."""
    pd = pytest.importorskip("pandas")
    y = np.random.default_rng(2).integers(2, size=N)
    paid = np.where(y == 1, 1.5 + np.random.default_rng(3).random(N), 0.0)
    frame = pd.DataFrame(
        {
            3: paid,
            "minutes_per_session": np.arange(N) // 4,
            "n": pd.array(np.arange(N) % 9, dtype="Int64"),
            "day": pd.date_range("2020", periods=N),
            "list": [[1, 2]] * N,
            "gaps": [None, "a", "b"] * (N // 3),
            "kind": pd.Categorical(list("abc") * (N // 3)),
        }
    )
    (note,) = telling.of_records(frame, y)
    assert note.startswith("Column 3 nearly tells") and "x.drop(columns=3) leaves it out" in note
    assert telling.of_records(pd.DataFrame({"row": np.arange(N), "time": -np.arange(N) / 2}), np.sort(y)) == []
    polars = pytest.importorskip("polars")
    (note,) = telling.of_records(polars.DataFrame({"paid": paid, "who": [f"c{k % 9}" for k in range(N)]}), y)
    assert note.startswith("Column paid")


def test_long_numbers_in_a_file_are_not_rounded_to_those_of_persons(tmp_path):
    """Nine digits of their own in each record were eight records each in float32."""
    rows = [f"{123_456_000 + k},{RNG.random()},{RNG.integers(2)}" for k in RNG.permutation(4000)]
    (tmp_path / "a.csv").write_text("\n".join(["customer_id,a,label", *rows]))
    assert not any("records each" in note for note in mia.load(str(tmp_path / "a.csv"))[1].notes)


def test_everyday_data_are_not():
    for load in (load_breast_cancer, load_digits, load_iris, load_wine):
        assert telling.of_records(*load(return_X_y=True)) == []
    x, y = load_diabetes(return_X_y=True, scaled=False)
    assert telling.of_records(x, (y > 140).astype(int)) == []
    many = np.tile(10.0 * Y[:, None], (1, 5)) + RNG.normal(size=(N, 5))
    assert telling.of_records(many, Y) == []  # an easy task
    assert telling.of_records(X[:60], Y[:60]) == [] and telling.of_records(np.zeros((N, 4, 4)), Y) == []


def test_audits_and_files_say_it(tmp_path):
    y = (Y > 0).astype(int)
    x = np.c_[X, np.where(y == 1, RNG.random(N) + 1, 0.0)]
    member = np.arange(N) % 2 == 0
    model = RandomForestClassifier(20, random_state=0).fit(x[member], y[member])
    for shadows in (None, RandomForestClassifier(20)):
        given = {} if shadows is None else dict(shadows=shadows, num_shadows=2)
        report = mia.audit(model.predict_proba, x, y, member, attacks="loss", **given)
        assert any(note.startswith("Column 12 of x nearly tells the label") for note in report.notes)
    np.savez(tmp_path / "loans.npz", x=x, y=y)
    assert any("Column 12 of x nearly tells" in note for note in mia.load(str(tmp_path / "loans.npz"))[1].notes)
    head = ",".join([*(f"f{k}" for k in range(12)), "paid", "label"])
    np.savetxt(tmp_path / "loans.csv", np.c_[x, y], delimiter=",", header=head, comments="", fmt=["%.6f"] * 13 + ["%d"])
    assert any("`kinds=paid:drop` leaves it out" in note for note in mia.load(str(tmp_path / "loans.csv"))[1].notes)
