"""The report: whole, explained, honest about simulation, and the same bytes from the same run."""

import ast
import html.parser
import json
import pathlib
import re

import numpy as np
import pytest

from mia_jax.reports import figures, report, results, shokri_figures, words
from mia_jax.reports.paper import rows as paper_rows
from mia_jax.types import InputError, Schema

HOSTILE = "<script>alert('x')</script> & \"co\""


def finished_run(
    workdir,
    name="location",
    *,
    classes=30,
    m=1200,
    leak=2.5,
    source="official",
    title=None,
    curves=True,
    accuracy=(1.0, 0.57),
    without=(),
    silent=(),
    more=(),
):
    """A run's folder as audits/shokri.py leaves it; only the networks are replaced, by draws of what they would answer.

    ``leak``: by how many standard deviations members' confidence exceeds others'. ``without``: classes that the shadows
    have no rows of. ``silent``: classes of which no record is called a member. ``more``: further attacks.
    """
    rng = np.random.default_rng(7)
    share = rng.dirichlet(np.full(classes, 3.0))
    label = np.tile(rng.choice(classes, m, p=share), 2).astype(np.int32)
    label[:classes] = label[m : m + classes] = np.arange(classes)
    member = np.arange(2 * m) < m
    logit = rng.normal(1.0, 1.8, 2 * m) + leak * member
    confidence = (1 / (1 + np.exp(-logit))).astype(np.float32)
    score = (logit - 1.0 - leak / 2 + rng.normal(0, 0.4, 2 * m)).astype(np.float32)
    score[np.isin(label, silent)] = -5 + rng.normal(0, 0.1, 2 * m)[np.isin(label, silent)]
    score[np.isin(label, without)] = np.nan
    columns = {
        "shokri": score,
        "confidence": confidence - np.float32(0.8),
        "majority": np.ones(2 * m, np.float32),
        **{extra: (logit - 2).astype(np.float32) for extra in more},
    }
    titles = {"shokri": "Shadow models, one attack network per class (Shokri et al. 2017)", "confidence": "Confidence"}
    target = dict(zip(("train_accuracy", "test_accuracy"), accuracy, strict=True))
    steps = np.linspace(0, 1, 100 if curves else 0)
    loss = np.exp(-4 * steps)[None] * rng.uniform(2.8, 3.4, (12, 1))
    schema = Schema(name, source, "0123abcd" * 8, classes, (446,), (), (f"Note on {name}.",))
    shadow = results.summarize_shadows(
        12, m, accuracy[:1], accuracy[1:], data="simulated" if source == "simulated" else "real"
    )
    if curves:
        shadow = {**shadow, "curves": results.curves(loss, 1 - 0.9 * loss / 3.4)}
    summary = {
        "schema": 1,
        "command": f"python scripts/train.py --dataset={name} --num_shadows=12",
        "date": "2026-11-24T10:00:00+00:00",
        "machine": "Linux x86_64, 2 cores",
        "config": {"dataset": name, "seed": 0, "train_size": m, "learning_rate": 1e-3, "model": None},
        "versions": results.versions(),
        "devices": ["cpu:0 (cpu)", "cpu:1 (cpu)"],
        "dataset": results.dataset(schema, title or name, 5 * m, np.bincount(label[:m], minlength=classes)),
        "target": {"kind": "nn", "model": "mlp", "train_records": m, **target},
        "shadows": shadow,
        "attacks": {
            key: results.attack(column, member, label, classes, titles.get(key, f"{key}, an attack"))
            for key, column in columns.items()
        },
        "classes_without_rows": list(without),
        "paper": {"rows": [row._asdict() for row in paper_rows(name)]},
        "seconds": {"data": 0.41, "target": 2.2, "shadows": 61.5, "attack": 9.03, "evaluation": 1.2},
    }
    arrays = {("score" if key == "shokri" else f"score_{key}"): column for key, column in columns.items()}
    entropy = (1 - confidence) * rng.uniform(0.6, 1.0, 2 * m)
    workdir.mkdir(parents=True)
    (workdir / "results.json").write_text(json.dumps(summary, allow_nan=False))
    np.savez(
        workdir / "scores.npz",
        member=member,
        label=label,
        index=np.arange(2 * m),
        confidence=confidence,
        entropy=entropy.astype(np.float32),
        **arrays,
    )
    return workdir


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


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """(name, folder, results, page) of a reported run."""
    folder = finished_run(
        tmp_path_factory.mktemp("runs") / request.param, **{"name": request.param, **RUNS[request.param]}
    )
    page = report.write_report(folder).read_text(encoding="utf-8")
    return request.param, folder, json.loads((folder / "results.json").read_text()), page


class Outline(html.parser.HTMLParser):
    """Checks that tags balance, and keeps the text of each element by tag."""

    VOID = frozenset({"meta", "img", "wbr"})

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.found, self.tags, self.visible = [], {}, [], []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
            self.found.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        for tag in set(self.open):
            self.found[tag][-1] += data
        if not {"style", "script"} & {*self.open}:
            self.visible.append(data)


def visible(page):
    outline = Outline(page)
    alts = [attrs["alt"] for tag, attrs in outline.tags if tag == "img"]
    return " ".join(outline.visible + outline.found["code"] + alts)


def test_page_is_well_formed_and_self_contained(run):
    name, _, _, page = run
    outline = Outline(page)
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    assert not [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe")]
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) == len(shokri_figures.PLOTS)
    for tag, attrs in outline.tags:
        assert not attrs.get("href") and attrs.get("src", "data:").startswith("data:")
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
    assert page.count("No figure: ") == len(shokri_figures.PLOTS) - len(drawn)
    for digest in (summary["dataset"]["digest"], summary["command"], summary["versions"]["jax"]):
        assert digest in text


def test_what_cannot_be_drawn_is_explained(run):
    name, folder, _, _ = run
    missing = {"adult": {"per_class_cdf", "precision_by_size"}, "edge": {"learning_curves"}}.get(name, set())
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {plot.__name__ for plot in shokri_figures.PLOTS} - missing
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
    assert "SIMULATED" in words.verdict(summary)
    assert table.startswith("SIMULATED") and "SIMULATED this run" in table


def test_simulated_is_drawn_into_the_pictures(tmp_path):
    """The same run, once official and once simulated: every picture differs, by its title alone."""
    drawings = []
    for source in ("official", "simulated"):
        folder = finished_run(tmp_path / source, classes=4, m=100, source=source)
        report.write_report(folder)
        drawings.append({path.name: path.read_bytes() for path in (folder / "figures").iterdir()})
    assert len(drawings[0]) == len(shokri_figures.PLOTS)
    assert all(drawings[0][name] != drawings[1][name] for name in drawings[0])


def test_strings_are_escaped(tmp_path):
    folder = finished_run(tmp_path / "run", classes=3, m=40, title=HOSTILE, more=("<b>x",))
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


def test_same_input_same_bytes(tmp_path):
    folder = finished_run(tmp_path / "run", classes=4, m=100)
    page = report.write_report(folder)
    first = {path: path.read_bytes() for path in [page, *(folder / "figures").iterdir()]}
    report.write_report(folder)
    assert first == {path: path.read_bytes() for path in [page, *(folder / "figures").iterdir()]}
    assert not list(folder.rglob("*.partial"))


def test_a_figure_that_no_longer_holds_is_removed(tmp_path):
    folder = finished_run(tmp_path / "run", classes=4, m=100)
    report.write_report(folder)
    summary = json.loads((folder / "results.json").read_text())
    del summary["shadows"]["curves"]
    (folder / "results.json").write_text(json.dumps(summary))
    report.write_report(folder)
    assert not (folder / "figures" / "learning_curves.png").exists()


def test_numbers_on_the_page_are_the_run_s(run):
    name, _, summary, page = run
    text = visible(page)
    for block in summary["attacks"].values():
        for key in ("accuracy", "precision", "recall"):
            measure = block[key]
            if measure["value"] is not None:
                assert f"{measure['low']:.1%} to {measure['high']:.1%}" in text, key
        assert f"{block['auc']['value']:.3f}" in text
        for measure in (block["tpr_at_fpr"][rate] for rate in words.rates(summary)):
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
    folder = finished_run(tmp_path / "run", "cifar10", classes=10, m=200)
    page = report.write_report(folder).read_text()
    summary = json.loads((folder / "results.json").read_text())
    median = np.median([figures.value(row["precision"]) for row in summary["attacks"]["shokri"]["per_class"]])
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
    summary = json.loads((finished_run(tmp_path / "run", classes=3, m=40) / "results.json").read_text())
    summary["attacks"]["shokri"]["accuracy"] = {"value": accuracy, "low": low, "high": accuracy + 0.02}
    assert said in words.verdict(summary)


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
    shokri_figures.roc({"attacks": {"shokri": {}, "coin": {}, "majority": {}}}, scores)
    perfect, coin = (line.get_xydata() for line in made[0].get_lines()[:2])
    np.testing.assert_array_equal(perfect[:, 1], 1)
    np.testing.assert_allclose(coin[:, 0], coin[:, 1], rtol=1e-6)


def test_unfinished_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        report.write_report(tmp_path)
    folder = finished_run(tmp_path / "run", classes=3, m=40)
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


@pytest.mark.parametrize("module", [report, figures, shokri_figures, words])
def test_never_imports_jax_nor_plotting_at_the_top(module):
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    everywhere = {name for node in ast.walk(tree) for name in _imported(node)}
    top = {name for node in tree.body for name in _imported(node)}
    assert not {name for name in everywhere if name.split(".")[0] in ("jax", "flax", "optax")}
    assert not {name for name in top if name.startswith("matplotlib")}
    assert not {name for name in everywhere if "pyplot" in name}


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []
