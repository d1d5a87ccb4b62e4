"""What the page says of several attacks together, and of the target alone."""

import json

import report_pages

from mia_jax.reports import figures, report


def test_a_page_tells_what_attacks_find_together_and_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    names = ("lira", "rmia", "loss", "label_only")
    folder = report_pages.audited(tmp_path / "run", names=names, n=3000, targets=2, leak=1.5)
    page = report_pages.visible(report.write_report(folder).read_text(encoding="utf-8"))
    found = json.loads((folder / "results.json").read_text())["overlap"]
    assert "Do the attacks find the same members?" in page and "What the target alone tells" in page
    assert "Left out, for they did not judge all records: label only." in page
    for name in ("any", "most", "all"):
        assert f"{found[name]['tpr']['value']:.1%}" in page and f"{found[name]['best_alone']:.1%}" in page
    assert "all of them" in page and "LiRA alone" in page


def test_a_page_of_one_attack_says_nothing_of_several(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    folder = report_pages.audited(tmp_path / "run", names=("lira",), n=300, targets=1)
    page = report.write_report(folder).read_text(encoding="utf-8")
    assert "find the same members" not in page and "What the target alone tells" not in page
