"""The page and the terminal's lines of an audit by canaries, for a reader who never read a paper. Never imports jax."""

import pathlib
import textwrap
from typing import Any

import numpy as np

from mia_jax.reports import epsilon_words, figures, page, words
from mia_jax.reports.figures import MEMBERS, OTHERS, Drawing, Results, Scores, value
from mia_jax.types import InputError

WIDTH = 100
BOUNDS = {  # key of the block -> (name, what it asks of the training)
    "epsilon": ("any training", "Steinke et al. 2023"),
    "epsilon_gaussian": ("if noise is Gaussian", "Mahloujifar et al. 2024"),
}


def write_report(workdir: str | pathlib.Path) -> pathlib.Path:
    """Write report.html and figures/*.png into the folder of an audit by canaries; as ``report.write_report``.

    Raises:
        InputError: as there.
    """
    with page.believed(workdir):
        run = page.read(pathlib.Path(workdir), "scripts/audit.py --canaries=1000")
        if run.results.get("plan") != "canaries":
            raise InputError(f"{workdir} holds no audit by canaries; use mia_jax.reports.report.write_report")
        drawings = figures.draw(run.results, run.scores, (suspicion,))
        return page.write(pathlib.Path(workdir), _page(run, drawings), drawings)


def terminal_table(results: Results) -> str:
    """Plain text, at most 100 columns wide: what is promised, what is proven."""
    target, block = results["target"], results["attacks"]["canaries"]
    lines = textwrap.wrap(f"{words.marked_title(results['dataset'])}: {_about(results)}", WIDTH)
    lines += ["", f"{'':<55}{'epsilon':>8}", f"{'promised':<55}{_promised(results):>8}"]
    for key, (name, source) in BOUNDS.items():
        lines.append(f"{f'proven, {name} ({source})':<55}{_proven(block[key]):>8}  {_evidence(block[key])}")
    auc = block["auc"]
    told = (
        f"AUC of the canaries {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]; accuracy of the model on"
        f" training {target['train_accuracy']:.3f}, on test records {target['test_accuracy']:.3f}"
    )
    return "\n".join([*lines, "", *textwrap.wrap(told, WIDTH), *textwrap.wrap(verdict(results), WIDTH)])


def verdict(results: Results) -> str:
    """One paragraph: what was proven, beside what was promised."""
    block, promised = results["attacks"]["canaries"]["epsilon"], results["target"].get("epsilon")
    at, low = f"delta {block['delta']:g}, {block['confidence']:.0%} confidence", epsilon_words.low(block)
    if not low:
        said = (
            f"These canaries prove nothing of epsilon ({at}): no leak was found. It does not prove that there is none."
        )
    else:
        said = f"This training is not differentially private for an epsilon below {low:.2f} ({at})."
    if value(promised) is None:
        return f"{said} It promises no epsilon: only noise does (DP-SGD, --dp_noise_multiplier)."
    told = f"DP-SGD promises that epsilon is at most {value(promised):.2f}"
    if low and low > value(promised):
        return f"{said} {told}: the promise does not hold, or this is the one audit in twenty that proves too much."
    return f"{said} {told}: nothing here contradicts it, and what lies between the two is not known."


def suspicion(results: Results, scores: Scores) -> Drawing:
    """The canaries' scores, those in training against those left out."""
    title = "Canaries in the training data, and canaries left out"
    score, member = scores["score_canaries"].astype(float), scores["member"].astype(bool)
    figure, ax = figures.canvas()
    edges = np.histogram_bin_edges(score, 24)
    groups = (("in training", member, MEMBERS, "-"), ("left out", ~member, OTHERS, (0, (4, 1.5))))
    for name, rows, color, dash in groups:
        share = np.histogram(score[rows], edges)[0] / rows.sum()
        ax.stairs(share, edges, color=color, lw=2, ls=dash, label=name)
    beside = "the other wrong labels" if results["canaries"]["kind"] == "mislabelled" else "all other labels"
    ax.set(xlabel=f"how much likelier than {beside}", ylabel="share of canaries")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(figures.as_percent)
    figures.legend(figure, ax)
    middle = f"Medians: in training {np.median(score[member]):.2f}, left out {np.median(score[~member]):.2f}."
    caption = (
        "To the right: how likely the model finds the canary's label, on a logarithmic scale. A model that tells"
        f" nothing of single records makes both shapes the same; the further apart, the larger the epsilon"
        f" proven. {middle}"
    )
    return Drawing("suspicion", title, caption, f"Histograms of the canaries' scores. {middle}", figure)


# --- the page --------------------------------------------------------------------------------------------------------


def _page(run: page.Finished, drawings: list[figures.Rendered]) -> str:
    results, mark = run.results, page.marked(run.results)
    block, promised = results["attacks"]["canaries"], results["target"].get("epsilon")
    tiles: list[tuple[str, str, Any, bool]] = [
        (f"Epsilon, at least: {name}", f"{source}; {_evidence(block[key])}", epsilon_words.low(block[key]), True)
        for key, (name, source) in BOUNDS.items()
    ]
    if promised is not None:
        none = {"value": None, "reason": "none: there is no noise"}
        hint = f"at most; what DP-SGD promises, at delta {promised['delta']:g}"
        tiles.append(("Promised epsilon", hint, none if value(promised) is None else value(promised), True))
    tiles.append(("AUC", "chance that a canary in training scores above one left out", block["auc"], True))
    sections = [
        page.section("The result", mark, page.tiles(tiles), *page.paragraphs([epsilon_words.what(block["epsilon"])])),
        page.section("How it was done", mark, *page.paragraphs(_how(results))),
        page.section("Figure", mark, page.gallery(drawings, mark)),
        page.section("To repeat this run", mark, page.repeat_table(results, mark, run.digest)),
    ]
    heading = f"What does training tell of a single record? {words.title(results['dataset'])}, audited"
    simulated = "The records are SIMULATED, made to resemble the real data set. " if mark else ""
    return page.document(results, heading, simulated + verdict(results), sections)


def _how(results: Results) -> list[str]:
    canaries, block = results["canaries"], results["attacks"]["canaries"]["epsilon"]
    if canaries["kind"] == "mislabelled":
        kind = (
            "records with a label drawn from the classes that are not theirs. Nothing else teaches a model that label,"
            " so one that finds it likelier than other wrong labels has seen the canary"
        )
    else:
        kind = "plain records; a model that is surer of their label has rather seen them"
    return [
        f"{canaries['count']:,} canaries are {kind}. A coin was tossed for each of them, and"
        f" {canaries['included']:,} came to be among the {results['target']['train_records']:,} records on which one"
        " model was trained. The model then only answered questions.",
        "The canaries with the highest scores were guessed to be in, as many with the lowest to be out. How many are"
        " guessed was fixed beforehand; where several numbers are tried, the bound is corrected for that. As every coin"
        " was fair and tossed for itself, the bound needs no second model and no assumption about the data. The second"
        " bound is higher and assumes that the training hides a record as Gaussian noise does, which DP-SGD does in"
        " good approximation and training without noise does not.",
        f"So many canaries prove an epsilon of {block['provable']:.2f} at most, even if every guess is right. Canaries"
        " that are harder to hide, or more of them, may prove more.",
    ]


def _about(results: Results) -> str:
    canaries = results["canaries"]
    return (
        f"one model, trained on {results['target']['train_records']:,} records, {canaries['included']:,} of them among"
        f" {canaries['count']:,} {canaries['kind']} canaries by a coin toss each; delta"
        f" {results['attacks']['canaries']['epsilon']['delta']:g}, 95% confidence"
    )


def _promised(results: Results) -> str:
    number = value(results["target"].get("epsilon"))
    return "none" if number is None else f"<= {number:.2f}"


def _proven(block: Any) -> str:
    return f">= {epsilon_words.low(block):.2f}"


def _evidence(block: Any) -> str:
    return f"{block['right']:,} of {block['guesses']:,} guesses right"
