"""The figures of an audit by many attacks. NumPy only; matplotlib as in ``figures``.

The best attacks, as the table ranks them, have a color and a dash of their own; the others are thin and gray, and
named below. A figure that lacks one of the best gives its line style to the next best.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from mia_jax.reports import measures
from mia_jax.reports.columns import column
from mia_jax.reports.figures import Drawing, as_percent, canvas, legend, many
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.words import OFTEN, chance, without_key
from mia_jax.statistics import low_fpr, metrics, per_record

HIGHLIGHTED = 6
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (7, 1, 1, 1, 1, 1)), (0, (2, 2)))
CURVE_RATE = "0.01"  # of the curve over shadows
NAMED_CLASSES = 40  # more have no room for their number
FEW_CLASSES = 3  # below, a figure over classes says less than the table
NUMBERED = 10  # attacks; a larger matrix has no room for numbers


def line_styles(results: Results, among: Collection[str]) -> dict[str, dict[str, Any]]:
    """How the line of each attack ``among`` all is drawn, best attack first."""
    order = measures.ranked(results)
    free = [k for k, name in enumerate(order[:HIGHLIGHTED]) if name not in among]
    free += range(len(order), HIGHLIGHTED)
    out = {}
    for place, name in enumerate(order):
        if name not in among:
            continue
        k = place if place < HIGHLIGHTED else free.pop(0) if free else None
        if k is not None:
            out[name] = dict(
                color=COLORS[k], ls=DASHES[k], lw=1.8, zorder=4 - k * 0.1, label=measures.short(results, name)
            )
        else:
            out[name] = dict(color="#a8a8a8", ls="-", lw=0.8, zorder=2)
    return out


def columns(results: Results, scores: Scores) -> dict[str, np.ndarray]:
    """The scores [T, n] of the attacks that tell records apart; a deployed model is one target."""
    found = {name: scores[column(name)] for name in results["attacks"] if column(name) in scores}
    return {
        name: np.atleast_2d(score)
        for name, score in found.items()
        if all(len(np.unique(s[~np.isnan(s)])) > 1 for s in np.atleast_2d(score))
    }


def with_members(results: Results, scores: Scores) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(scores [T, n], member [T, n]) of the same attacks, where they judged members and non-members."""
    member = np.atleast_2d(scores["member"]).astype(bool)
    return {
        name: (score, member)
        for name, score in columns(results, scores).items()
        if all(len(np.unique(m[~np.isnan(s)])) == 2 for s, m in zip(score, member, strict=True))
    }


# --- the figures -----------------------------------------------------------------------------------------------------


def roc(results: Results, scores: Scores) -> Drawing:
    """The ROC curve of each attack, on logarithmic axes; over several targets, their mean."""
    name, title = "roc", "Members found, by false alarms allowed"
    found = with_members(results, scores)
    if not found:
        return Drawing(name, title, "No figure: no attack of this run gives different records different scores.", "")
    others = {a: int((~member & ~np.isnan(score)).sum()) for a, (score, member) in found.items()}
    starts = {a: min(metrics.RESOLVABLE / count, 0.2) for a, count in others.items()}
    left = min(starts.values())
    figure, ax = canvas(height=4.0)
    lowest = 1.0
    styles = line_styles(results, found)
    for attack, style in styles.items():
        grid = np.geomspace(starts[attack], 1, 300)
        curve = _roc_on(grid, *found[attack])
        lowest = min([lowest, *curve[curve > 0]])
        ax.plot(grid, np.where(curve > 0, curve, np.nan), **style)
    ax.plot([left, 1], [left, 1], color="#000000", lw=1.2, ls=(0, (4, 4)), label="guessing")
    bottom = min(left, lowest)
    gray = [measures.short(results, a) for a, style in styles.items() if "label" not in style]
    if gray:
        ax.plot([], [], color="#a8a8a8", lw=0.8, label=many(len(gray), "other attack", "other attacks"))
    ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1.15))
    ax.set(xlabel="false alarms: share of non-members (FPR)", ylabel="found: share of members (TPR)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(as_percent)
    legend(figure, ax)
    targets = len(next(iter(found.values()))[0])
    fewest = min(int((~member & ~np.isnan(score)).sum(axis=1).min()) for score, member in found.values())
    mean = f", a mean over the {targets} targets," if targets > 1 else ""
    named = _in_gray(gray)
    flat = [measures.short(results, a) for a in results["attacks"] if a not in found]
    missing = f" Not drawn: {', '.join(flat)}, which gives no two records different scores." if flat else ""
    short_ones = ""
    if max(starts.values()) > 1.5 * left:
        short_ones = " Attacks that judged fewer records begin further right."
    resolved = (
        "The curves begin where 10 false alarms stand behind a point; further left there is nothing to measure."
        if metrics.RESOLVABLE / max(others.values()) <= 0.2
        else "So few non-members were judged that fewer than 10 false alarms stand behind the left part of every curve."
    )
    if targets > 1 and left < (own := metrics.RESOLVABLE / max(1, fewest)) < 1:
        resolved += f" Left of {100 * own:.2g}% all targets share one threshold: each alone has too few false alarms."
    caption = (
        "This is the ROC curve. An attacker may choose how sure to be before calling a record a member. Each curve"
        f"{mean} shows the share of members found (upwards) for the share of non-members falsely accused (to the"
        " right). Both axes are logarithmic, so that the left side shows the attacker who hardly ever accuses wrongly."
        f" The higher a curve above the dashed line of guessing, the worse for privacy. {resolved}{short_ones}{named}"
        f"{missing}"
    )
    aucs = [
        f"{measures.short(results, a)} {auc:.3f}"
        for a in styles
        if (auc := measures.value(results["attacks"][a].get("auc"))) is not None
    ]
    alt = f"ROC curves on logarithmic axes. Area under each curve: {', '.join(aucs) or 'not measured'}; guessing: .500."
    return Drawing(name, title, caption, alt, figure)


def _roc_on(grid: np.ndarray, score: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The TPR at each FPR of ``grid``: as in the table, a mean over targets, or at one threshold where each has few."""
    scored = ~np.isnan(score)

    def curve(s: np.ndarray, m: np.ndarray) -> np.ndarray:
        t = metrics.tally(s, m)
        return low_fpr.at(low_fpr.above(t.members, t.non_members), grid * (t.non_members.sum() + 1))

    pooled = curve(score[scored], member[scored])
    each = np.mean([curve(s[j], m[j]) for s, m, j in zip(score, member, scored, strict=True)], axis=0)
    fewest = (scored & ~member).sum(axis=1).min()
    return np.where(fewest * grid >= metrics.RESOLVABLE, each, pooled)


def by_shadows(results: Results, scores: Scores) -> Drawing:
    """AUC, and TPR at 1 % FPR, by the number of shadows that an attack had."""
    name, title = "by_shadows", "What fewer shadow models would have given"
    curves = {a: c for a, b in results["attacks"].items() if len(c := b.get("by_shadows") or {}) > 1}
    if not curves:
        caption = (
            "No figure: no attack of this run was tried with fewer shadow models. That is done for the attacks that"
            " compare a record with itself in other models."
        )
        return Drawing(name, title, caption, "")
    member = np.atleast_2d(scores["member"])
    resolved = (~member)[:4].sum() * float(CURVE_RATE) >= metrics.RESOLVABLE
    figure, axes = canvas(2 if resolved else 1, height=5.2 if resolved else 3.8)
    axes = np.atleast_1d(axes)
    panels = (("auc", "AUC"), ("tpr", f"found at {100 * float(CURVE_RATE):g}% FPR"))
    ticks: set[int] = set()
    gray = []
    for attack, style in line_styles(results, curves).items():
        counts = sorted(map(int, curves[attack]))
        ticks |= set(counts)
        marker = dict(marker="o", ms=4 if "label" in style else 2.5)
        for ax, (measure, _) in zip(axes, panels, strict=False):
            ax.plot(counts, [measures.value(curves[attack][str(c)][measure]) for c in counts], **style, **marker)
        if "label" not in style:
            gray.append(measures.short(results, attack))
    if gray:
        axes[-1].plot([], [], color="#a8a8a8", lw=0.8, label=many(len(gray), "other attack", "other attacks"))
    for ax, (_, label) in zip(axes, panels, strict=False):
        ax.set_ylabel(label)
    if resolved:
        axes[1].yaxis.set_major_formatter(as_percent)
    shown = _numbers_of_shadows(axes[-1], sorted(ticks))
    legend(figure, axes[-1])
    own = [measures.short(results, a) for a in ("lira", "lira_offline") if a in curves]
    dip = (
        f" The variance of {' and '.join(own)} is that of all records where fewer than two models on a side tell of a"
        " record, else the record's own: such a curve may dip where that changes."
        if own
        else ""
    )
    below = (
        f" Below: members found at {OFTEN[CURVE_RATE]}."
        if resolved
        else " The members found at one false alarm in a hundred are not drawn: too few non-members were judged."
    )
    caption = (
        "Shadow models are what an attack costs. Each mark: the same attack, left with fewer of them, a mean over up to"
        f" four targets. {'Above: AUC' if resolved else 'AUC'}, the chance that a member scores above a non-member."
        f"{below} A curve that is flat to the right needs no more models; one that still climbs would find more with"
        f" more.{_in_gray(gray)}{dip}{without_key(results, 'by_shadows')}"
    )
    ends = []
    for attack, by_count in curves.items():
        fewest, most = (measures.value(by_count[pick(by_count, key=int)]["auc"]) for pick in (min, max))
        ends.append(f"{measures.short(results, attack)} {fewest:.3f} to {most:.3f}")
    alt = f"Lines over {shown[0]} to {shown[-1]} shadow models. AUC with fewest and with most: {', '.join(ends)}."
    return Drawing(name, title, caption, alt, figure)


def _numbers_of_shadows(ax: Any, counts: list[int]) -> list[int]:
    """A logarithmic axis over numbers of shadow models; returns the numbers that are written."""
    ax.set_xscale("log", base=2)
    if len(counts) > 1 and counts[-1] < 1.4 * counts[-2]:  # their numbers would touch
        counts = [*counts[:-2], counts[-1]]
    ax.set_xticks(counts, [f"{count}" for count in counts])
    ax.minorticks_off()
    ax.set_xlabel("shadow models")
    return counts


def _in_gray(names: list[str]) -> str:
    """The attacks that share a gray line: a sentence with a space before it, or nothing."""
    return f" Gray: {', '.join(names).removesuffix('.')}." if names else ""


def separation(results: Results, scores: Scores) -> Drawing:
    """A histogram of the records' separations d' (``statistics.per_record``)."""
    name, title = "separation", "How exposed records are"
    found = scores.get("separation")
    if found is None:
        return Drawing(name, title, "No figure: scores.npz does not hold the separation of each record.", "")
    figure, ax = canvas()
    low, high = np.quantile(found, [0.001, 0.999])
    edges = np.linspace(min(low, 0.0), max(high, 1.0), 41)
    share = np.histogram(np.clip(found, edges[0], edges[-1]), edges)[0] / len(found)
    ax.stairs(share, edges, fill=True, color=COLORS[0], alpha=0.35)
    ax.stairs(share, edges, color=COLORS[0], lw=1.8)
    places = {"median": 0.5, "95% of records lie left": 0.95, "99% lie left": 0.99}
    styles = ((COLORS[1], "-"), (COLORS[2], (0, (4, 1.5))), ("#000000", (0, (1, 1))))
    for (label, q), (color, dash) in zip(places.items(), styles, strict=True):
        ax.axvline(np.quantile(found, q), color=color, ls=dash, lw=1.6, label=label)
    ax.set(xlabel="separation (standard deviations)", ylabel="share of records", xlim=(edges[0], edges[-1]))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(as_percent)
    legend(figure, ax)
    quantiles = ", ".join(f"{label} {np.quantile(found, q):.1f}" for label, q in places.items())
    caption = (
        f"Separation of the {len(found):,} records: how far the models' answers about a record with it in their"
        " training data lie from their answers without it, in standard deviations. At 0 the models do not remember the"
        " record and nobody can tell; at 1 an attacker who knows both kinds of models recognizes it in"
        f" {chance(1)} of the cases at one false alarm in a hundred, at 3 in {chance(3)}, at 5 in {chance(5)}. The"
        f" values are estimates from {results['shadows']['models']} models, which widens the shape. Here: {quantiles}."
        " The first and the last bar hold what lies beyond."
    )
    return Drawing(name, title, caption, f"Histogram of the separation of {len(found):,} records: {quantiles}.", figure)


def exposed_classes(results: Results, scores: Scores) -> Drawing:
    """The mean separation of each class."""
    name, title = "exposed_classes", "Which classes are exposed most"
    rows = results.get("exposure", {}).get("classes", [])
    if len(rows) < FEW_CLASSES:
        return Drawing(name, title, _few(len(rows)), "")
    rows = sorted(rows, key=lambda row: -row["separation"])
    figure, ax = canvas()
    labeled = len(rows) <= NAMED_CLASSES
    ax.bar(range(len(rows)), [row["separation"] for row in rows], color=COLORS[0], width=0.8 if labeled else 1.0)
    everyone = np.average([row["separation"] for row in rows], weights=[row["records"] for row in rows])
    ax.axhline(everyone, color=COLORS[1], ls="--", label="mean of all records")
    size = 8 if len(rows) <= 20 else 6.5
    ax.set_xticks(range(len(rows)) if labeled else [], [row["class"] for row in rows] if labeled else [], fontsize=size)
    if len(rows) > 20:
        ax.tick_params(axis="x", rotation=90)
    ax.grid(axis="x", visible=False)
    ax.set(xlabel="class, most exposed first", ylabel="mean separation (std. deviations)")
    legend(figure, ax)
    first, last = rows[0], rows[-1]
    caption = (
        "One bar per class: the mean separation (see: How exposed records are) of its records. Tall bars: records of"
        f" these classes are remembered best. Class {first['class']} leads with {first['separation']:.2f}"
        f" ({first['records']:,} records), class {last['class']} ends with {last['separation']:.2f}"
        f" ({last['records']:,} records); the mean of all records is {everyone:.2f}. The table by class has every"
        " number."
    )
    alt = f"Bars for {len(rows)} classes, from {first['separation']:.2f} down to {last['separation']:.2f}."
    return Drawing(name, title, caption, alt, figure)


def exposed_records(results: Results, scores: Scores) -> Drawing:
    """The records of largest separation, where they are images."""
    name, title = "exposed_records", "The most exposed records"
    pictures, rows = scores.get("pictures"), results.get("exposure", {}).get("records", [])
    if pictures is None or not rows:
        return Drawing(
            name, title, "No figure: these records are no pictures; the table of records describes them.", ""
        )
    from matplotlib.figure import Figure

    across = 4
    down = -(-len(rows) // across)
    figure = Figure(figsize=(4.4, 1.42 * down + 0.3))
    axes = np.atleast_1d(figure.subplots(down, across)).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, picture, row in zip(axes, pictures, rows, strict=False):
        ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(f"{row['index']} / class {row['class']}\n{row['separation']:.1f}", fontsize=7, fontweight="normal")
    caption = (
        "The records that the models remember most. Above each: its row in the data set and its class, and below these"
        " its separation in standard deviations. Worth a look: are they unusual, mislabeled, or like another class?"
    )
    alt = f"Pictures of {len(rows)} records: rows {', '.join(str(row['index']) for row in rows)}."
    return Drawing(name, title, caption, alt, figure)


def agreement(results: Results, scores: Scores) -> Drawing:
    """Rank correlations of the scores of every two attacks, as a heat map."""
    name, title = "agreement", "Do the attacks agree on who is a member?"
    found = results.get("exposure", {}).get("agreement")
    if found is None:
        found = per_record.agreement(columns(results, scores))
    order = [a for a in measures.ranked(results) if a in found["attacks"]]
    if len(order) < 2:
        return Drawing(name, title, "No figure: it takes two attacks that give different records different scores.", "")
    place = [found["attacks"].index(a) for a in order]
    matrix = np.array(found["rank_correlation"])[np.ix_(place, place)]
    figure, ax = canvas(height=4.1)
    ax.grid(visible=False)
    # An aspect of its own would have the layout cut the longest name.
    image = ax.imshow(matrix, aspect="auto", cmap="cividis", vmin=min(0.0, float(matrix.min())), vmax=1)
    size = 8.5 if len(order) <= NUMBERED else 7
    numbers = range(1, len(order) + 1)  # at the bottom they stand for the names, which would take half of the height
    ax.set_xticks(range(len(order)), ["\n" * (k % 2 == 0) + f"{k}" for k in numbers], fontsize=size)
    ax.set_yticks(
        range(len(order)),
        [f"{measures.short(results, a)}  {k}" for k, a in zip(numbers, order, strict=True)],
        fontsize=size,
    )
    if len(order) <= NUMBERED:
        for (i, j), correlation in np.ndenumerate(matrix):
            v = float(correlation)
            ax.text(j, i, f"{v:.2f}", ha="center", va="center", fontsize=6.5, color="white" if v < 0.55 else "black")
    figure.colorbar(image, ax=ax, location="bottom", shrink=0.8, label="rank correlation of the scores", pad=0.02)
    off = matrix[np.triu_indices(len(order), 1)]
    i, j = np.unravel_index(np.argmin(matrix), matrix.shape)
    caption = (
        "Each field compares two attacks: 1 where they put the records into the same order, 0 where their orders have"
        " nothing to do with each other (Spearman's rank correlation"
        f"{', a mean over the targets' if measures.targets_in_turn(results) else ''}). The numbers at the bottom are"
        " those beside the names. Attacks that disagree look at different things, and may find different members. Least"
        f" alike: {measures.short(results, order[i])} and {measures.short(results, order[j])}, {matrix[i, j]:.2f};"
        f" in the middle, {np.median(off):.2f}."
    )
    alt = f"Heat map of {len(order)} attacks; rank correlations from {off.min():.2f} to {off.max():.2f}."
    return Drawing(name, title, caption, alt, figure)


def _few(classes: int) -> str:
    return f"No figure: there is the separation of {many(classes, 'class', 'classes')}, and the table says as much."
