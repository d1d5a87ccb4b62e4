"""What the page says of several attacks together, and of the target alone."""

import json

import report_pages

from mia_jax.reports import figures, report
from mia_jax.reports.sections import overlap


def test_a_page_tells_what_attacks_find_together_and_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    names = ("lira", "rmia", "loss", "label_only")
    folder = report_pages.audited(tmp_path / "run", names=names, n=3000, targets=2, leak=1.5)
    page = report_pages.visible(report.write_report(folder).read_text(encoding="utf-8"))
    results = json.loads((folder / "results.json").read_text())
    found = results["overlap"]
    assert "Do the attacks find the same members?" in page and "What the target alone tells" in page
    assert "finds nobody" not in page
    assert "Left out, for they did not judge all records: label only." in page
    for name in ("any", "most", "all"):
        assert f"{found[name]['tpr']['value']:.1%}" in page and f"{found[name]['best_alone']:.1%}" in page
    assert "all of them" in page and "LiRA alone" in page
    assert "Here they are not, as far as these records show" in page and "Here there are more than guessing" in page
    assert (
        overlap.names_of(results, ["lira", "rmia", "loss"], [*"ab", "lira", "rmia", "loss", "c"])
        == "LiRA, RMIA and loss"
    )


def test_an_attack_that_calls_nobody_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder = report_pages.audited(tmp_path / "run", names=("lira", "loss"), n=3000, targets=1, leak=1.5)
    results = json.loads((folder / "results.json").read_text())
    results["overlap"]["attacks"]["loss"]["tpr"]["value"] = 0.0
    (folder / "results.json").write_text(json.dumps(results))
    page = report_pages.visible(report.write_report(folder).read_text(encoding="utf-8"))
    assert "At 1% false alarms this finds nobody: loss." in page


def test_it_is_said_whether_attacks_are_stronger_together():
    found = {"tpr": {"value": 0.3, "low": 0.25, "high": 0.35}, "best_alone": 0.2}
    assert overlap.verdict(found).startswith("Here they are: 30.0% of the members are found by any of them, and 20.0%")
    for other in ({"best_alone": 0.27}, {"tpr": {"value": 0.3, "reason": "no interval"}}):
        assert overlap.verdict(found | other).startswith("Here they are not, as far as these records show: 30.0% ")


def test_a_target_that_tells_nothing_is_said_to_tell_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder = report_pages.audited(tmp_path / "run", names=("lira", "loss"), n=3000, targets=2, leak=0.0)
    page = report_pages.visible(report.write_report(folder).read_text(encoding="utf-8"))
    assert "Here there are no more, as far as can be told, than guessing gives." in page


def test_a_page_of_one_attack_says_nothing_of_several(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder = report_pages.audited(tmp_path / "run", names=("lira",), n=300, targets=1)
    page = report.write_report(folder).read_text(encoding="utf-8")
    assert "find the same members" not in page and "What the target alone tells" not in page
