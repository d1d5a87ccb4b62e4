"""scores.npz and scores.csv: every column is described, on the page and in docs/scores.md, and reads back the same."""

import csv
import json
import pathlib

import numpy as np
import pytest
from report_pages import TINY, audited, paper_run

from mia_jax.reports import columns
from mia_jax.types import InputError

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "scores.md"


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_single_target_is_a_line_for_each_record(tmp_path):
    folder = paper_run(tmp_path / "run", classes=4, m=50, without=(3,))
    path = columns.write_csv(folder)
    rows = rows_of(path)
    with np.load(folder / "scores.npz") as scores:
        assert len(rows) == len(scores["index"]) == 100
        assert list(rows[0]) == ["score_shokri" if name == "score" else name for name in scores.files]
        read = np.array([np.float32(row["score_shokri"] or "nan") for row in rows])
        np.testing.assert_array_equal(read, scores["score"])  # to the bit, and nothing where there is no score
        assert any(row["score_shokri"] == "" for row in rows)
        assert [row["member"] for row in rows] == [str(int(m)) for m in scores["member"]]
    assert not list(folder.glob(".*partial"))


def test_several_targets_are_a_line_for_each_of_them(tmp_path):
    folder = audited(tmp_path / "run", **TINY)
    rows = rows_of(columns.write_csv(folder))
    with np.load(folder / "scores.npz") as scores:
        targets, n = scores["member"].shape
        assert len(rows) == targets * n and next(iter(rows[0])) == "target"
        assert [row["target"] for row in rows[::n]] == [str(target) for target in scores["targets"]]
        np.testing.assert_array_equal([np.float32(row["score_lira"]) for row in rows], scores["score_lira"].reshape(-1))
        np.testing.assert_array_equal([int(row["index"]) for row in rows[n:]], scores["index"])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        columns.write_csv(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["paper", "balanced"])
def test_every_column_is_described(tmp_path, kind):
    folder = paper_run(tmp_path / "run", classes=3, m=20) if kind == "paper" else audited(tmp_path / "run", **TINY)
    results = json.loads((folder / "results.json").read_text())
    documented = DOCS.read_text()
    with np.load(folder / "scores.npz") as scores:
        for name in scores.files:
            assert columns.meaning(name, results) != "not described"
            assert f"`{name}`" in documented or name.startswith("score_")
    assert columns.meaning("surprise", results) == "not described"


def test_the_document_has_no_column_that_is_not_known():
    named = {line.split("`")[1] for line in DOCS.read_text().splitlines() if line.startswith("| `")}
    assert named == set(columns.MEANINGS) - {"correct"} | {"score", "score_<attack>"}
