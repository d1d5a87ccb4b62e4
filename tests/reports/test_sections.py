"""Sections of the page: each knows whether it has something to show, and what they say of measurements is measured."""

import json
import pathlib
import re

import numpy as np
import pytest
from report_pages import TINY, Outline, audited, check_links, paper_run, visible

from mia_jax.reports import figures, measures, mitigations, render, report
from mia_jax.reports.blocks import Cell, Paragraphs, Report, Row, Table
from mia_jax.reports.results import read
from mia_jax.reports.sections import SECTIONS, Section, records
from mia_jax.reports.sections import mitigations as what_to_do
from mia_jax.reports.words import sizes

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A run of the paper's plan, and its page without figures, which take most of the time."""
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder_ = paper_run(tmp_path / "run", classes=4, m=300, leak=3.0)
    return folder_, report.write_report(folder_).read_text()


def test_a_section_is_added_by_naming_it_and_shows_only_what_it_has(finished):
    results, scores, digest = read(finished[0])
    hello = Section(
        "hello", "A <new> one", lambda r, s: "shokri" in r["attacks"], lambda r: [Paragraphs(["It & this."])]
    )
    never = Section("never", "Nothing", lambda r, s: False, lambda r: [])
    page = render.page(Report(results, scores, digest, []), (*SECTIONS, hello, never))
    check_links(Outline(page))
    assert '<a href="#hello">A &lt;new&gt; one</a>' in page and "It &amp; this." in page and "never" not in page


def test_an_attack_names_itself_and_stands_everywhere_under_that_name(finished):
    folder_, _ = finished
    path = folder_ / "results.json"
    summary = json.loads(path.read_text())
    summary["attacks"]["confidence"]["short"] = "Sure & certain"
    path.write_text(json.dumps(summary))
    page = report.write_report(folder_).read_text()
    assert "Sure &amp; certain" in page and "confidence threshold" not in page
    assert "Sure & certain" in report.terminal_table(summary)


def test_what_was_seen_in_a_users_records_stands_beside_the_result(finished):
    """It stood in the last table alone, below "no leak was found"."""
    results, scores, digest = read(finished[0])
    seen = "Column score nearly tells the label."
    for source, there in (("local", True), ("simulated", False)):
        of = {**results, "dataset": {**results["dataset"], "source": source, "notes": ["Labels are y.", seen]}}
        page = render.page(Report(of, scores, digest, []))
        assert (f"The records, as they were read: Labels are y. {seen}" in page.replace("\n", " ")) == there


def test_every_section_has_an_anchor_of_its_own():
    assert (
        len({section.anchor for section in SECTIONS}) == len({section.title for section in SECTIONS}) == len(SECTIONS)
    )
    assert all(re.fullmatch("[a-z-]+", section.anchor) for section in SECTIONS)


def test_the_surest_members_are_told_and_what_accusing_them_costs(finished):
    folder_, page = finished
    results, scores, digest = read(folder_)
    _, table = records.SECTION.blocks(Report(results, scores, digest, []))
    name = measures.ranked(results)[0]
    score, member = scores["score" if name == "shokri" else f"score_{name}"], scores["member"]
    assert len(table.rows) == records.TOP
    for row in table.rows:
        (place,) = np.flatnonzero(scores["index"] == int(row.head.text.replace(",", "")))
        assert member[place]
        above = int((score[~member] >= score[place]).sum())
        assert row.cells[-1].text == f"{above:,} of {int((~member).sum()):,}"
        assert (score[member] > score[place]).sum() < records.TOP
    assert "Which records" in page


def test_without_known_members_the_highest_scores_are_told(tmp_path):
    results = {
        "plan": "deployed",
        "attacks": {"lira": {"title": "LiRA"}},
        "dataset": {"source": "local"},
    }
    scores = {"score_lira": np.arange(50.0) - 10, "label": np.zeros(50, int), "index": np.arange(50)[::-1]}
    text, table = records.SECTION.blocks(Report(results, scores, "", []))
    assert [row.head.text for row in table.rows] == [str(k) for k in range(12)]
    assert {row.cells[-1].text for row in table.rows} == {"yes"} and "nobody can say" in text.texts[0]


def test_measured_mitigations_are_those_of_the_documents():
    """Each number that "What to do" shows stands in the document that it names."""
    names = {"Labels alone": "label only", "One decimal digit": "1 digit", "The three best classes": "top 3"}
    names |= {"Weight decay": "L2 1e-3", "Much weight decay": "L2 1e-2"}
    lines = (DOCS / "REPRODUCTION.md").read_text().splitlines()

    def row(*cells):
        (found,) = [line for line in lines if line.startswith("| " + " | ".join(cells) + " |")]
        return found

    checked = 0
    for one in mitigations.MEASURED:
        if one.source == 1:
            data = one.data.replace(", simulated records", " (SIMULATED)")
            pair = row(data, "none"), row(data, names[one.mitigation])
        elif one.source == 2:
            pair = row("CIFAR-10", "2,500"), row("CIFAR-10", "7,500")
        else:
            continue
        for line, accuracy, found in zip(pair, one.test_accuracy, one.found, strict=True):
            assert f"{accuracy:.3f}" in line and f"{found:.3f}" in line
        checked += 1
    assert checked == len(mitigations.MEASURED) - 1
    measured = (DOCS / "measurements.md").read_text()
    noise = next(one for one in mitigations.MEASURED if one.source == 3)
    for number in (*noise.test_accuracy, *noise.found):
        assert f"{number:.3f}".removeprefix("0") in measured
    (with_noise,) = [line for line in (DOCS / "results.md").read_text().splitlines() if line.startswith("| 100, 4.4 |")]
    assert f"{noise.test_accuracy[1]:.3f}" in with_noise and f"{noise.found[1]:.3f}" in with_noise


def test_what_to_do_repeats_the_run_with_one_flag_more(finished):
    results, _, _ = read(finished[0])
    command = (
        "python scripts/train.py --dataset=a --l2=1e-4 --workdir=w --fail_if='auc>0.5, tpr@0.1>0.2' --csv --seed=3"
    )
    assert what_to_do.repeated({**results, "command": command}, "--l2=1e-3") == (
        "python scripts/train.py --dataset=a --seed=3 --l2=1e-3"
    )
    assert what_to_do.leaks(results)
    calm = json.loads(json.dumps(results))
    calm["attacks"]["shokri"]["accuracy"] = {"value": 0.52, "low": 0.49, "high": 0.55}
    assert not what_to_do.leaks(calm)


@pytest.mark.parametrize(("shadows", "said"), [(500, True), (2000, False), (1950, False), (4000, True), (None, False)])
def test_shadows_of_another_size_are_remarked_upon_beside_the_table(shadows, said):
    """As on the terminal: shadows trained on 500 records and the target on 2,000."""
    results = {"target": {"train_records": 2000}, "shadows": {"train_records": shadows}}
    assert bool(sizes(results)) == said
    if said:
        assert f"{shadows:,} records and the target on 2,000" in sizes(results)


def test_flags_in_running_text_do_not_break_and_nothing_slips_through():
    assert render.prose("it is `l2=0.1` <b>") == 'it is <code class="flag">l2=0.1</code> &lt;b&gt;'
    assert render.prose("use --num_models=32, or --dp_noise_multiplier.") == (
        'use <code class="flag">--num_models=32</code>, or <code class="flag">--dp_noise_multiplier</code>.'
    )
    assert render.prose('--x=<b> & "') == '<code class="flag">--x</code>=&lt;b&gt; &amp; &#34;'
    assert render.code("a --b=<c>") == "<code><span>a</span> <span>--b=&lt;c&gt;</span></code>"


def test_a_table_refuses_a_row_of_another_length():
    with pytest.raises(ValueError, match="a row of 2 cells under 3 columns"):
        Table("", ["a", "b", "c"], [Row(Cell("x"), [Cell("y")])])


def test_what_nobody_measured_is_not_told_of_a_small_audit(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    text = visible(report.write_report(audited(tmp_path / "run", **TINY)).read_text())
    assert "What this does not show" in text and "So few non-members were judged" in text
