"""The report of an audit by many attacks: whole, explained, honest about what few records cannot tell."""

import html
import json
import re

import numpy as np
import pytest
from report_pages import HOSTILE, TINY, Outline, audited, base, check_imports, check_page, folder_of, visible

from mia_jax import audits
from mia_jax.attacks import ATTACKS
from mia_jax.audits.config import BalancedConfig
from mia_jax.reports import (
    audit_figures,
    blocks,
    examples,
    measures,
    plots,
    render,
    report,
    terminal,
    verdict,
    words,
)
from mia_jax.statistics import matched_pairs, metrics, per_record
from mia_jax.types import Field, InputError, Schema

RUNS = {
    "all": dict(title_="Toy", n=7000),
    "simulated": dict(names=("shokri", "lira"), source="simulated", n=600),
    "pictures": dict(names=("loss", "lira", "rmia_offline"), pixels=True, targets=1, n=2400),
    "tiny": TINY,
    "blind": dict(names=("loss",), leak=0.0, few=("loss",), n=2000),
}
QUICK = (
    "simulated",
    "tiny",
)  # the others draw many figures
PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.integration) for name in RUNS]


@pytest.fixture(scope="module", params=PARAMS)
def run(request, tmp_path_factory):
    """(name, folder, results, page) of a reported audit."""
    folder = audited(tmp_path_factory.mktemp("audits") / request.param, **RUNS[request.param])
    text = report.write_report(folder).read_text(encoding="utf-8")
    return request.param, folder, json.loads((folder / "results.json").read_text()), text


def test_page_is_whole_and_explained(run):
    name, folder, _, text = run
    drawn = check_page(folder, text, plots.PLOTS["balanced"])
    absent = {
        "all": {"exposed_records"},
        "simulated": {"exposed_records"},
        "pictures": set(),
        "tiny": {"exposed_records", "exposed_classes"},
        "blind": {"exposed_records", "by_shadows", "agreement"},
    }[name]
    assert drawn == {plot.__name__ for plot in plots.PLOTS["balanced"]} - absent
    assert text.count("No figure: ") == len(absent - {"exposed_records"})


def test_simulated_is_said_everywhere_or_nowhere(run):
    name, _, summary, text = run
    outline, table = Outline(text), report.terminal_table(summary)
    if name != "simulated":
        assert "SIMULATED" not in text and "SIMULATED" not in table
        return
    for tag in ("title", "h1", "h2", "h3", "caption", "figcaption"):
        assert outline.found[tag] and all("SIMULATED" in found for found in outline.found[tag]), tag
    assert all("SIMULATED" in attrs["alt"] for tag, attrs in outline.tags if tag == "img")
    assert table.startswith("SIMULATED") and "SIMULATED" in verdict.verdict(summary)


def test_numbers_on_the_page_are_the_run_s(run):
    _, _, summary, text = run
    shown = visible(text)
    for block in summary["attacks"].values():
        assert html.escape(block["title"]) in text or block["title"] in shown
        rates = [block["tpr_at_fpr"][rate] for rate in measures.rates(summary)]
        for measure in (block["accuracy"], *rates, *block["ppv_at_prior"].values()):
            if measure["value"] is None:
                assert measure["reason"].removeprefix("not resolvable: ") in shown
            else:
                assert f"{measure['value']:.1%}" in shown
        for rate, chosen in block.get("chosen_threshold", {}).items():
            others = summary["dataset"]["records"] // 2 * block["targets"]
            if others * float(rate) >= 10:
                assert f"{chosen['tpr']['value']:.1%}" in shown and f"{chosen['fpr']['value']:.2%}" in shown
    for row in summary["exposure"]["records"]:
        assert f">{row['index']:,}</th>" in text and row.get("attributes", "") in shown
    assert summary["versions"]["jax"] in shown and summary["dataset"]["digest"] in shown


def test_strongest_first_and_the_rest_listed(run):
    name, folder, summary, text = run
    order = measures.ranked(summary)
    places = [text.index(f'<th scope="row">{measures.short(summary, a)} <small>') for a in order]
    assert places == sorted(places)
    counted = any(measures.value(block["tpr_at_fpr"]["0.01"]) is not None for block in summary["attacks"].values())
    assert ("begins with the attack that finds most members at 1% false alarms" in visible(text)) == counted
    assert ("begins with the attack of the highest AUC" in visible(text)) == (not counted)
    if name != "all":
        return
    rates = [measures.value(summary["attacks"][a]["tpr_at_fpr"]["0.01"]) for a in order]
    known = [rate for rate in rates if rate is not None]
    assert known == sorted(known, reverse=True) and rates[len(known) :] == [None] * 3
    looks = audit_figures.line_styles(summary, order)
    best = [(style["color"], style["ls"]) for style in looks.values() if "label" in style]
    assert len(best) == len(set(best)) == 6 == len({color for color, _ in best}) and len(looks) == len(ATTACKS) - 1
    few = audit_figures.line_styles(summary, order[4:11])
    assert [style.get("color") for style in few.values()][:2] == [looks[a]["color"] for a in order[4:6]]
    assert [a for a, style in few.items() if "label" in style] == order[4:10]
    with np.load(folder / "scores.npz") as scores:
        caption = audit_figures.roc(summary, scores).caption
    assert all(measures.short(summary, a) in caption for a in order[6:])


def test_verdict_answers_the_question(run):
    name, _, summary, _ = run
    said = verdict.verdict(summary)
    assert ("at one false alarm in a thousand cannot be told" in said) == (name not in ("all", "tiny"))
    if name == "tiny":
        assert "cannot be told here" in said
        return
    rate = measures.lowest_rate(summary)
    best, measure = measures.strongest(summary, rate)
    assert (
        f"{measures.short({}, best)}, identifies {words.percent(measure['value'])}" in said
        and words.OFTEN[rate] in said
    )
    assert ("no leak was found" in said) == (name == "blind")
    assert ("severe leak" in said) == (name in ("all", "pictures"))
    assert ("clear leak, though" in said) == (name == "simulated")  # so few records resolve 10 % only


def test_verdict_counts_the_wrongly_accused():
    """Four members found for each false alarm: of five accused, four are members."""
    results = {
        "plan": "balanced",
        "dataset": {"name": "mine", "source": "local"},
        "target": {"train_records": 1000},
        "shadows": {"models": 32},
        "attacks": {
            "lira": {"auc": {"value": 0.6}, "tpr_at_fpr": {"0.001": {"value": 0.004, "low": 0.002, "high": 0.006}}}
        },
    }
    said = verdict.verdict(results)
    assert "clear leak" in said and "of those accused at this rate, where half are members, 80% are" in said


def test_terminal_table(run):
    _, _, summary, _ = run
    lines = report.terminal_table(summary).splitlines()
    assert max(map(len, lines)) <= 100 and all(line == line.rstrip() for line in lines)
    rows = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in summary["attacks"]}
    assert list(rows) == measures.ranked(summary)
    for attack, line in rows.items():
        auc, accuracy = (summary["attacks"][attack][key] for key in ("auc", "accuracy"))
        low, high = max(0, auc["low"]), min(1, auc["high"])
        assert f" {auc['value']:.3f} [{low:.3f}, {high:.3f}]" in line
        bound = summary["attacks"][attack]["epsilon"]["low"]
        told = r"- \(\d\)" if bound is None else f">= {bound:.2f}"
        assert re.search(rf"{accuracy['value']:.3f} +{told}$", line)
    text = "\n".join(lines)
    notes = {int(k) for k in re.findall(r"- \((\d)\)", "\n".join(rows.values()))}
    assert notes == {int(k) for k in re.findall(r"^\((\d)\) not resolvable: ", text, re.MULTILINE)}
    assert notes


def test_epsilon_is_told_and_explained(run):
    name, _, summary, text = run
    shown, bounds = visible(text), {a: b["epsilon"] for a, b in summary["attacks"].items()}
    for told in bounds.values():
        if told["low"] is not None:
            evidence = f"<small>{told['right']:,} of {told['guesses']:,} guesses right</small>"
            assert f"<b>{told['low']:.2f}</b> {evidence}" in text
    name_, joint = measures.largest_epsilon(summary)
    assert f"<dt>Epsilon, at least</dt><dd><b>{joint:.3f}</b>" in text and joint <= bounds[name_]["low"]
    if len(bounds) > 1:
        assert f"corrected for the number of attacks ({len(bounds)})" in shown
        assert f"{joint:.2f} by {measures.short({}, name_)}, is what this audit proves" in shown
        assert f"the largest, corrected for {len(bounds)} attacks: {joint:.2f}" in " ".join(
            report.terminal_table(summary).split()
        )
    assert "Epsilon, at least" in shown and "Epsilon is how much a trained model may tell of a single record" in shown
    assert "drawn at random" in shown and "cannot be checked here" not in shown
    assert "middle one's" in shown or name == "pictures"
    assert (name == "blind") == all(told["low"] == 0 for told in bounds.values())
    del summary["attacks"][next(iter(bounds))]["epsilon"]
    assert (measures.epsilon_block(summary) is None) == (len(bounds) == 1)


def test_unequal_sides_are_told_beside_the_numbers(tmp_path):
    """Eight of ten records are members, in the audit of a deployed model: guessing is right on .8."""
    rng = np.random.default_rng(0)
    n = 3000
    member = rng.permutation(n) < 0.8 * n
    label = (np.arange(n) % 3).astype(np.int32)
    blocks = {}
    for name, lean in (("loss", 0.1), ("lira", 1.0)):
        score = rng.normal(1, 1, n) + lean * member
        blocks[name] = metrics.evaluate(score, member, label, 3) | {"title": name}
        blocks[name]["epsilon"] = matched_pairs.from_scores(score, member, delta=1e-5, attacks=2)
    summary = base("toy", "deployed", "local", "Toy", 3, n, {"workdir": str(tmp_path)}) | {
        "target": {"kind": "a service", "train_records": 2400, "train_accuracy": 1.0, "test_accuracy": 0.6},
        "shadows": {"count": 4, "data": "noisy"},
        "attacks": blocks,
    }
    table = report.terminal_table(summary)
    flat = " ".join(table.split())
    assert max(map(len, table.splitlines())) <= 100 and "balanced epsilon" in flat
    for block in blocks.values():
        assert f" {block['balanced_accuracy']['value']:.3f}" in table
        assert f" {block['accuracy']['value']:.3f}" not in table
    for told in ("80% of the records are members, so guessing alone has an accuracy of 80%", "only if a random split"):
        assert told in flat
    folder = folder_of(tmp_path / "run", summary, member=member, label=label, index=np.arange(n))
    shown = visible(report.write_report(folder).read_text())
    assert "protects no single record" not in flat + shown
    for block in blocks.values():
        block["epsilon"]["delta"] = 0.01
    loose = (
        report.terminal_table(summary),
        visible(
            report.write_report(
                folder_of(tmp_path / "loose", summary, member=member, label=label, index=np.arange(n))
            ).read_text()
        ),
    )
    for text in loose:
        assert "Delta 0.01 is above 1/2,400" in " ".join(text.split())
    assert "Balanced accuracy" in shown and "guessing alone has an accuracy of 80%" in shown
    assert shown.index("only if a random split decided") < shown.index("The model under attack is")
    assert "guessing: 0.500, if a random split decided who is a member" in shown


def test_an_attack_picked_from_many_must_beat_guessing_by_more():
    measure = {"value": 0.015, "low": 0.0105, "high": 0.02}
    assert measures.above_guessing(measure, 0.01, 1) and not measures.above_guessing(measure, 0.01, 23)
    assert not measures.above_guessing({"value": 0.01 + 1e-17, "reason": "no spread"}, 0.01, 1)


def test_intervals_stay_where_shares_can_be():
    measure = {"value": 0.9, "low": -0.3, "high": 1.4}
    assert blocks.measure_cell(measure) == ("90.0%", "0.0% to 100.0%", "number")
    same = {"value": 0.5, "reason": "all 2 targets gave the same value: no spread to tell an interval from"}
    assert blocks.measure_cell(same) == ("50.0%", "all 2 targets gave the same value", "number")


@pytest.mark.parametrize("run", ["tiny"], indirect=True)
def test_strings_are_escaped(run):
    *_, text = run
    assert "script" not in {tag for tag, _ in Outline(text).tags} and visible(text).count(HOSTILE) >= 2


@pytest.mark.parametrize("run", ["tiny"], indirect=True)
def test_same_input_same_bytes(run):
    _, folder, _, _ = run
    files = {path: path.read_bytes() for path in [folder / "report.html", *(folder / "figures").iterdir()]}
    assert report.write_report(folder) == folder / "report.html"  # whoever asks
    assert files == {path: path.read_bytes() for path in [folder / "report.html", *(folder / "figures").iterdir()]}
    assert not list(folder.rglob("*.partial"))


def test_mean_curve_is_a_mean_over_targets(monkeypatch):
    """One target told apart perfectly, one not at all: the mean lies half way, in height."""
    import matplotlib.figure

    made = []
    original = matplotlib.figure.Figure.subplots
    monkeypatch.setattr(
        matplotlib.figure.Figure, "subplots", lambda f, *a, **k: made.append(original(f, *a, **k)) or made[-1]
    )
    n = 2000
    member = np.tile(np.arange(2 * n) < n, (2, 1))
    score = np.stack([member[0] + 0.0, np.tile(np.arange(n), 2)])
    drawn = audit_figures.roc({"attacks": {"lira": {}}}, {"member": member, "score_lira": score})
    line = made[0].get_lines()[0].get_xydata()
    own = line[line[:, 0] >= 10 / n]  # further left each target alone has too few false alarms
    np.testing.assert_allclose(own[:, 1], (1 + own[:, 0]) / 2, rtol=1e-3)
    assert line[0, 0] == pytest.approx(10 / (2 * n)) and "mean over the 2 targets" in drawn.caption
    assert "Left of 0.5% all targets share one threshold" in drawn.caption


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        (Field("bits", "binary", 0, 4), [0, 1, 0, 1], "bits: 2 of 4 set (columns 1, 3)"),
        (Field("bits", "binary", 0, 2), [0, 0], "bits: 0 of 2 set"),
        (Field("smoker", "binary", 0, 1), [1], "smoker"),
        (Field("smoker", "binary", 0, 1), [0], "no attribute is set"),
        (Field("sex", "categorical", 0, 2, categories=("Female", "Male")), [0, 1], "sex: Male"),
        (Field("age", "numeric", 0, 1, 17, 90), [39.0], "age: 39 (of 17 to 90)"),
    ],
)
def test_attributes_in_words(field, values, said):
    schema = Schema("toy", "local", "", 2, (len(values),), (field,))
    assert examples.attributes(schema, np.array([values])) == [said]
    assert examples.pictures(schema, np.array([values])) is None


def test_pictures_are_what_was_there():
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    schema = Schema("toy", "local", "", 2, (4, 5, 3), (Field("pixels", "pixel", 0, 60, 0.0, 255.0),))
    np.testing.assert_array_equal(examples.pictures(schema, x), x)
    wide = Schema("toy", "local", "", 2, (200, 100), (Field("pixels", "pixel", 0, 20000, 0.0, 1.0),))
    assert examples.pictures(wide, np.ones((1, 200, 100))).shape == (1, 67, 34, 1)


@pytest.mark.integration
def test_a_real_audit_shows_its_pictures(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (rng.integers(0, 60, (120, 4, 4, 1)) + 60 * y[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    config = BalancedConfig(
        dataset=str(tmp_path / "own.npz"),
        workdir=str(tmp_path / "run"),
        attacks="lira",
        num_models=4,
        num_targets=2,
        num_epochs=2,
        hidden=8,
        model="mlp",
    )
    summary = audits.run(config, command="the command")
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        rows = [row["index"] for row in summary["exposure"]["records"]]
        np.testing.assert_array_equal(scores["pictures"], x[rows])
        order = np.argsort(-scores["separation"])[: len(rows)]
        np.testing.assert_array_equal(scores["index"][order], rows)
    text = (tmp_path / "run" / "report.html").read_text()
    assert "exposed_records" in check_page(tmp_path / "run", text, plots.PLOTS["balanced"])


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no finished run.*mia-jax audit"):
        report.write_report(tmp_path)
    folder = audited(tmp_path / "run", names=("loss",), n=100)
    summary = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(summary | {"plan": "other"}))
    with pytest.raises(InputError, match=r"of the plan 'other', which is not known"):
        report.write_report(folder)


@pytest.mark.parametrize("module", [report, audit_figures, blocks, render, terminal, examples, per_record])
def test_never_imports_jax_nor_plotting_at_the_top(module):
    check_imports(module)
