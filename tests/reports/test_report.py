"""The report: whole, explained, honest about simulation, and the same bytes from the same run."""

import json
import re
import shutil

import numpy as np
import pytest
from report_pages import HOSTILE, Outline, check_imports, check_links, paper_run, visible

from mia_jax.reports import figures, measures, paper_run_figures, plots, report, verdict, words
from mia_jax.reports.paper import rows as paper_rows
from mia_jax.types import InputError

RUNS = {
    "location": dict(title="Location"),
    "purchase100": dict(classes=100, m=2000, leak=1.5, source="simulated", title="Purchase-100"),
    "adult": dict(classes=2, m=2000, leak=0.02, title="Adult", accuracy=(0.858, 0.846)),
    "edge": dict(
        name="mine",
        classes=5,
        m=60,
        source="local",
        title=HOSTILE,
        curves=False,
        without=(3,),
        silent=(1,),
        more=("lira", "rmia"),
    ),
}
QUICK = ("edge",)  # the others draw many figures
PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.integration) for name in RUNS]


@pytest.fixture(scope="module", params=PARAMS)
def run(request, tmp_path_factory):
    """(name, folder, results, page) of a reported run."""
    folder = paper_run(
        tmp_path_factory.mktemp("runs") / request.param, **{"name": request.param, **RUNS[request.param]}
    )
    page = report.write_report(folder).read_text(encoding="utf-8")
    return request.param, folder, json.loads((folder / "results.json").read_text()), page


def test_page_is_well_formed_and_self_contained(run):
    name, _, _, page = run
    outline = Outline(page)
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    assert not [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe")]
    check_links(outline)
    figures_ = [attrs["id"] for tag, attrs in outline.tags if tag == "figure"]
    assert figures_ == [f"figure-{plot.__name__}" for plot in plots.PLOTS["shokri"]] or name in ("adult", "edge")
    for tag, attrs in outline.tags:
        assert attrs.get("src", "data:").startswith("data:")
        assert tag != "img" or len(attrs["alt"]) > 30
        assert tag != "th" or attrs["scope"] in ("col", "row", "rowgroup")
    tables = [tag for tag, _ in outline.tags].count("table")
    assert tables == len(outline.found["caption"]) >= 3
    assert len(page.encode()) < 3e6, name


def test_nothing_is_empty_or_unexplained(run):
    _, folder, summary, page = run
    text = visible(page)
    assert not re.search(r"\b(None|nan|NaN|inf|null|True|False)\b", text)
    outline = Outline(page)
    for tag in ("h1", "h2", "h3", "p", "li", "dt", "dd", "td", "th", "caption", "figcaption", "code", "small"):
        assert all(content.strip() for content in outline.found[tag]), tag
    for caption in outline.found["figcaption"]:
        assert len(caption) > 80
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert len(drawn) == page.count("<img ")
    assert page.count("No figure: ") == len(plots.PLOTS["shokri"]) - len(drawn)
    for digest in (summary["dataset"]["digest"], summary["command"], summary["versions"]["jax"]):
        assert digest in text


def test_what_cannot_be_drawn_is_explained(run):
    name, folder, _, _ = run
    missing = {"adult": {"per_class_cdf", "precision_by_size"}, "edge": {"learning_curves"}}.get(name, set())
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {plot.__name__ for plot in plots.PLOTS["shokri"]} - missing
    for path in (folder / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_simulated_is_said_everywhere_or_nowhere(run):
    name, _, summary, page = run
    outline = Outline(page)
    table = report.terminal_table(summary)
    if name != "purchase100":
        assert "SIMULATED" not in page and "SIMULATED" not in table
        return
    for tag in ("title", "h1", "h2", "h3", "caption", "figcaption", "summary"):
        assert outline.found[tag] and all("SIMULATED" in text for text in outline.found[tag]), tag
    assert all("SIMULATED" in attrs["alt"] for tag, attrs in outline.tags if tag == "img")
    assert "SIMULATED" in verdict.verdict(summary)
    assert table.startswith("SIMULATED") and "SIMULATED this run" in table


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a small reported run. To be copied, not written to."""
    folder = paper_run(tmp_path_factory.mktemp("written") / "run", classes=4, m=100)
    report.write_report(folder)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    """A copy of it."""
    return shutil.copytree(written, tmp_path / "run")


def drawings(folder):
    return {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}


def test_simulated_is_drawn_into_the_pictures(written, tmp_path):
    """The same run, once official and once simulated: every picture differs, by its title alone."""
    folder = paper_run(tmp_path / "run", classes=4, m=100, source="simulated")
    report.write_report(folder)
    official, simulated = drawings(written), drawings(folder)
    assert len(official) == len(plots.PLOTS["shokri"]) and official.keys() == simulated.keys()
    assert all(official[name] != simulated[name] for name in official)


def test_strings_are_escaped(tmp_path):
    folder = paper_run(tmp_path / "run", classes=3, m=40, title=HOSTILE, more=("<b>x",))
    summary = json.loads((folder / "results.json").read_text())
    summary["command"] = summary["machine"] = summary["config"][HOSTILE] = HOSTILE
    summary["dataset"]["notes"] = summary["devices"] = [HOSTILE]
    summary["attacks"]["shokri"]["title"] = HOSTILE
    summary["attacks"]["shokri"]["auc"] = {"value": None, "reason": HOSTILE}
    summary["paper"]["rows"] = [{"setting": HOSTILE, "source": HOSTILE, "precision": 0.5}]
    (folder / "results.json").write_text(json.dumps(summary))
    page = report.write_report(folder).read_text()
    outline = Outline(page)
    assert "script" not in {tag for tag, _ in outline.tags} and "b>x" not in page.replace("&lt;b&gt;x", "")
    assert visible(page).count(HOSTILE) >= 10


@pytest.mark.integration
def test_same_input_same_bytes_and_a_figure_that_no_longer_holds_is_removed(written, copied):
    page = report.write_report(copied)
    assert page.read_bytes() == (written / page.name).read_bytes() and drawings(copied) == drawings(written)
    assert not list(copied.rglob("*.partial"))
    summary = json.loads((copied / "results.json").read_text())
    del summary["shadows"]["curves"]
    (copied / "results.json").write_text(json.dumps(summary))
    report.write_report(copied)
    assert drawings(copied).keys() == drawings(written).keys() - {"learning_curves.png"}


def test_numbers_on_the_page_are_the_run_s(run):
    name, _, summary, page = run
    text = visible(page)
    for block in summary["attacks"].values():
        for key in ("accuracy", "precision", "recall"):
            measure = block[key]
            if measure["value"] is not None:
                assert f"{measure['low']:.1%} to {measure['high']:.1%}" in text, key
        assert f"{block['auc']['value']:.3f}" in text
        for measure in (block["tpr_at_fpr"][rate] for rate in measures.rates(summary)):
            assert (f"{measure['value']:.1%}" if measure["value"] is not None else measure["reason"]) in text
    assert ("found no leak" in text) == (name == "adult")
    if name == "edge":
        assert "The shadow models lacked members or others of class 3" in text
        assert text.count("not attacked") == 2 and "Not attacked: the shadow models lacked members" in text


def test_paper_s_row_is_told_apart(run):
    name, _, summary, page = run
    text, table = visible(page), report.terminal_table(summary)
    if name == "edge":
        assert "report nothing for this data set" in text and "The paper has no row" in table
        return
    for row in paper_rows(name):
        assert f"Paper: {row.setting}" in text and f"paper: {row.setting} ({row.source})"[:50] in table
    assert "a prediction service, closed since" in text and "another target" in text
    if name == "purchase100":
        assert "0.935" in table and "93.5%" in text and "0.870" in table


def test_a_median_stands_beside_a_median(tmp_path):
    """CIFAR: the paper gives the median over classes, so it must not stand in the row of the overall precision."""
    folder = paper_run(tmp_path / "run", "cifar10", classes=10, m=200)
    page = report.write_report(folder).read_text()
    summary = json.loads((folder / "results.json").read_text())
    median = np.median([measures.value(row["precision"]) for row in summary["attacks"]["shokri"]["per_class"]])
    row = next(line for line in page.splitlines() if "Attack precision, median class" in line)
    assert f"<b>{median:.1%}</b>" in row and "<b>74.0%</b>" in row
    assert re.search(rf"this run .* {median:.3f} ", table := report.terminal_table(summary))
    assert re.search(r"paper: CNN, 15,000 training records \(section VI-B\) .* - +0\.740", table)
    assert max(map(len, table.splitlines())) <= 100
    assert "Attack precision<small>" not in page


def test_terminal_table(run):
    name, _, summary, _ = run
    lines = report.terminal_table(summary).splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    text = "\n".join(lines)
    assert not re.search(r"\b(None|nan)\b", text)
    accuracy = summary["attacks"]["shokri"]["accuracy"]
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in text
    assert "majority guess" in text and "confidence threshold" in text
    if name == "edge":
        assert "- (1)" in text and "\n(1) " in text and "LiRA" in text and "RMIA" in text
        unscored = summary["attacks"]["shokri"]["unscored"]
        assert unscored > 0
        assert f"(the shadow models lacked members or others of class 3: {unscored} records got no score)" in text
    else:
        assert "got no score" not in text


@pytest.mark.parametrize(
    ("low", "accuracy", "said"),
    [(0.49, 0.51, "no leak"), (0.51, 0.55, "weak"), (0.6, 0.7, "clear"), (0.8, 0.9, "severe")],
)
def test_verdict_follows_the_interval(tmp_path, low, accuracy, said):
    summary = json.loads((paper_run(tmp_path / "run", classes=3, m=40) / "results.json").read_text())
    summary["attacks"]["shokri"]["accuracy"] = {"value": accuracy, "low": low, "high": accuracy + 0.02}
    assert said in verdict.verdict(summary)


def test_roc_is_drawn_where_it_is(monkeypatch):
    """A score that separates perfectly stays at the top, one that says nothing on the diagonal."""
    import matplotlib.figure

    made = []
    original = matplotlib.figure.Figure.subplots
    monkeypatch.setattr(
        matplotlib.figure.Figure, "subplots", lambda f, *a, **k: made.append(original(f, *a, **k)) or made[-1]
    )
    n = 5000
    member = np.arange(2 * n) < n
    scores = {"member": member, "score": member + 0.0, "score_coin": np.tile(np.arange(n), 2).astype(float)}
    paper_run_figures.roc({"attacks": {"shokri": {}, "coin": {}, "majority": {}}}, scores)
    perfect, coin = (line.get_xydata() for line in made[0].get_lines()[:2])
    np.testing.assert_array_equal(perfect[:, 1], 1)
    np.testing.assert_allclose(coin[:, 0], coin[:, 1], rtol=1e-6)


def test_unfinished_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        report.write_report(tmp_path)
    folder = paper_run(tmp_path / "run", classes=3, m=40)
    whole = (folder / "scores.npz").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK not a zip"):
        (folder / "scores.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="no finished run"):
            report.write_report(folder)
    (folder / "scores.npz").write_bytes(whole)
    (folder / "results.json").write_text('{"schema": 2}')
    with pytest.raises(InputError, match="schema 2"):
        report.write_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("module", [report, figures, paper_run_figures, words])
def test_never_imports_jax_nor_plotting_at_the_top(module):
    check_imports(module)
