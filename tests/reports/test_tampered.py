"""A results.json that somebody has changed, and its report written again: text is escaped wherever a number was."""

import json
import shutil

import numpy as np
import pytest
from report_pages import TINY, audited, paper_run

from mia_jax.reports import figures, report
from mia_jax.types import InputError

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
VALUES = (
    EVIL,
    [EVIL],
    {EVIL: EVIL},
    {"value": EVIL, "low": EVIL, "high": EVIL, "reason": EVIL},
    None,
    True,
    10**400,
    [],
)


def leaves(tree, path=()):
    """Where the values of JSON are, of long lists the first two, and the containers that hold them."""
    if path:
        yield path
    if isinstance(tree, dict):
        for name, item in tree.items():
            yield from leaves(item, (*path, name))
    elif isinstance(tree, list):
        for number, item in enumerate(tree[:2]):
            yield from leaves(item, (*path, number))


def changed(text: str, path, value) -> dict:
    tree = json.loads(text)
    *folders, last = path
    inner = tree
    for name in folders:
        inner = inner[name]
    inner[last] = value
    return tree


def tamper(folder, monkeypatch, every: int) -> None:
    """Put each value into every n-th place of results.json, and write the page again."""
    monkeypatch.setattr(figures, "draw", lambda *_: [])  # it takes most of the time, and ends in pictures
    text = (folder / "results.json").read_text(encoding="utf-8")
    refused = written = 0
    for number, path in enumerate(leaves(json.loads(text))):
        for k, value in enumerate(VALUES):
            if (number + k) % every:
                continue
            (folder / "results.json").write_text(json.dumps(changed(text, path, value)), encoding="utf-8")
            try:
                page = report.write_report(folder).read_text(encoding="utf-8")
            except InputError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 600
                continue
            written += 1
            found = [page[max(0, page.find(tag) - 80) :][:120] for tag in ("<script", "<img src=x") if tag in page]
            assert not found, (path, value)
    assert refused > 10 and written > 10


def test_classes_are_escaped_as_text_is(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder = audited(tmp_path / "audit", **TINY)
    text = (folder / "results.json").read_text(encoding="utf-8")
    for path in (("attacks", "gap", "per_class", 0, "class"), ("exposure", "records", 0, "class")):
        (folder / "results.json").write_text(json.dumps(changed(text, path, EVIL)), encoding="utf-8")
        page = report.write_report(folder).read_text(encoding="utf-8")
        assert "<script" not in page and "&lt;script" in page


@pytest.mark.integration
@pytest.mark.parametrize("value", [EVIL, None])
def test_what_is_no_number_is_told_in_a_line(tmp_path, monkeypatch, value):
    folder = paper_run(tmp_path / "run", m=100, classes=4)
    tree = changed((folder / "results.json").read_text(encoding="utf-8"), ("target", "train_records"), value)
    (folder / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InputError, match=r"results.json or scores.npz is not as a run leaves it \(\w+: .*\); the same"):
        report.write_report(folder)


@pytest.mark.slow
def test_the_page_of_many_attacks(tmp_path, monkeypatch):
    folder = audited(tmp_path / "audit", **TINY)
    tamper(folder, monkeypatch, every=1)


def test_a_run_without_attacks_is_refused(tmp_path):
    folder = paper_run(tmp_path / "run", m=100, classes=4)
    text = (folder / "results.json").read_text(encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(changed(text, ("attacks",), {})), encoding="utf-8")
    with pytest.raises(InputError, match="is not as a run leaves it"):
        report.write_report(folder)


@pytest.mark.slow
def test_the_page_of_the_paper_s_run(tmp_path, monkeypatch):
    tamper(paper_run(tmp_path / "run", m=100, classes=4), monkeypatch, every=1)


@pytest.mark.slow
def test_the_page_of_canaries(canary_config, canary_run, tmp_path, monkeypatch):
    assert canary_run["plan"] == "canaries"
    shutil.copytree(canary_config.workdir, tmp_path / "w")
    tamper(tmp_path / "w", monkeypatch, every=1)


def test_scores_that_are_others_are_told(tmp_path):
    folder = audited(tmp_path / "audit", **TINY)
    for arrays in ({}, {"member": np.zeros(3)}, {"member": np.array(["x"])}):
        np.savez(folder / "scores.npz", **arrays)
        with pytest.raises(InputError, match="is not as a run leaves it") as error:
            report.write_report(folder)
        assert "\n" not in str(error.value)
