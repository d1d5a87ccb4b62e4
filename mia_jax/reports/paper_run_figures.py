"""The figures of a run of the paper's attack: one function each, from results and scores to a drawing. NumPy only."""

import numpy as np

from mia_jax.reports import measures
from mia_jax.reports.columns import column
from mia_jax.reports.figures import (
    ATTACK_COLORS,
    DASHES,
    GRAY,
    HATCHED,
    MEMBERS,
    MORE_COLORS,
    OTHERS,
    Drawing,
    as_percent,
    canvas,
    legend,
    many,
)
from mia_jax.reports.measures import Results, Scores
from mia_jax.statistics import metrics

MARKERS = "osDv^<>"
RECALL = (0, (3, 1.5))
FEW_CLASSES = 3  # below, a distribution over classes says less than the table


def colors(results: Results) -> dict[str, str]:
    """Each attack's color, the same in every figure."""
    more = [name for name in results["attacks"] if name not in ATTACK_COLORS]
    return ATTACK_COLORS | {name: MORE_COLORS[k % len(MORE_COLORS)] for k, name in enumerate(more)}


def telling(results: Results, scores: Scores) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(scores, member) of the attacks that tell records apart; records without a score (NaN) are left out."""
    out = {}
    for name in results["attacks"]:
        score = scores.get(column(name))
        if score is not None:
            scored = ~np.isnan(score)
            if len(np.unique(score[scored])) > 1 and len(np.unique(scores["member"][scored])) == 2:
                out[name] = score[scored], scores["member"][scored]
    return out


# --- the figures -----------------------------------------------------------------------------------------------------


def roc(results: Results, scores: Scores) -> Drawing:
    """The ROC curve of each attack, on logarithmic axes."""
    name, title = "roc", "Members found, by false alarms allowed"
    attacks, hue = telling(results, scores), colors(results)
    if not attacks:
        return Drawing(name, title, "No figure: no attack of this run gives different records different scores.", "")
    figure, ax = canvas()
    others = int((~scores["member"]).sum())
    left = min(1 / others, 0.1)
    grid = np.geomspace(left, 1, 400)
    for k, (attack, (score, member)) in enumerate(attacks.items()):
        curve = metrics.roc(score, member)
        found = np.interp(grid, curve.fpr, curve.tpr)  # at a vertical step: its upper end
        ax.plot(
            grid,
            np.where(found > 0, found, np.nan),
            color=hue[attack],
            ls=DASHES[k % 4],
            label=measures.short(results, attack),
        )
    ax.plot([left, 1], [left, 1], color=GRAY, lw=1.2, ls="--", label="guessing")
    limit = min(metrics.RESOLVABLE / others, 1)
    ax.axvspan(left, limit, **HATCHED)
    ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(left, 1.15))
    ax.set(xlabel="false alarms: share of non-members (FPR)", ylabel="found: share of members (TPR)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(as_percent)
    legend(figure, ax)
    same = [measures.short(results, a) for a in results["attacks"] if a not in attacks]
    flat = f" Not drawn: {', '.join(same)}, which gives no two records different scores." if same else ""
    aucs = [
        f"{measures.short(results, a)} {measures.value(results['attacks'][a].get('auc')):.3f}"
        for a in attacks
        if _has(results, a, "auc")
    ]
    caption = (
        "This is the ROC curve. An attacker may choose how sure to be before calling a record a member. Each curve"
        " shows the share of members found (upwards) for the share of non-members falsely accused (to the right)."
        " Both axes are logarithmic, so that the left side shows the attacker who hardly ever accuses wrongly. The"
        " dashed line is guessing; the higher above it, the worse for privacy. In the hatched part fewer than"
        f" {metrics.RESOLVABLE} of the {others:,} non-members are accused: too few to measure a rate, so do not read"
        f" the curves there.{flat}"
    )
    areas = ", ".join(aucs) or "not measured"
    alt = f"ROC curves on logarithmic axes. Area under each curve: {areas}; guessing: 0.500."
    return Drawing(name, title, caption, alt, figure)


def per_class_cdf(results: Results, scores: Scores) -> Drawing:
    """Precision and recall per class as cumulative distributions over classes (figures 4 and 5 of the paper)."""
    name, title = "per_class_cdf", "How many classes leak how much"
    classes, hue = results["dataset"]["classes"], colors(results)
    if classes < FEW_CLASSES:
        return Drawing(name, title, _too_few(classes), "")
    figure, ax = canvas()
    medians, left_out = [], []
    for attack in telling(results, scores):
        rows = results["attacks"][attack].get("per_class", [])
        for measure, dash in (("precision", "-"), ("recall", RECALL)):
            values = np.sort([v for row in rows if (v := measures.value(row[measure])) is not None])
            if not len(values):
                continue
            x = np.concatenate([[0], np.repeat(values, 2), [1]])
            y = np.repeat(np.arange(len(values) + 1), 2) / len(values)
            ax.plot(
                x,
                y,
                color=hue[attack],
                ls=dash,
                label=measures.short(results, attack) if measure == "precision" else None,
            )
            medians.append(f"{measure} of {measures.short(results, attack)} {np.median(values):.2f}")
            if missing := classes - len(values):
                left_out.append(
                    f"{measure} of {measures.short(results, attack)} for {many(missing, 'class', 'classes')}"
                )
    if not medians:
        return Drawing(name, title, "No figure: no class of this run has a precision or a recall.", "")
    for measure, dash in (("precision", "-"), ("recall", RECALL)):
        ax.plot([], [], color=GRAY, ls=dash, label=measure)
    ax.axvline(0.5, color=GRAY, lw=1.2, ls=":")
    ax.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel="precision or recall of a class")
    ax.set_ylabel("share of classes, up to there")
    legend(figure, ax)
    caption = (
        "Precision (solid): of the records of a class that were called members, the share that are. Recall (dashed):"
        " of its members, the share found. Read upwards from a value on the bottom axis: the height is the share of"
        f" the {classes} classes with that value or less. A curve that hugs the right edge means that nearly every"
        " class leaks. The dotted line, a half, is the precision of guessing where members and others of a class are"
        f" equally many. Medians over the classes: {'; '.join(medians)}."
    )
    if left_out:
        caption += " Not defined, so left out: " + "; ".join(left_out) + " (the table by class says which)."
    alt = f"Cumulative distribution over {classes} classes. Medians: {'; '.join(medians)}."
    return Drawing(name, title, caption, alt, figure)


def precision_by_size(results: Results, scores: Scores) -> Drawing:
    """Precision on each class by the training records that the target had of it."""
    name, title = "precision_by_size", "Do small classes leak more?"
    classes, hue = results["dataset"]["classes"], colors(results)
    counts = results["dataset"].get("class_counts")
    if classes < FEW_CLASSES:
        return Drawing(name, title, _too_few(classes), "")
    if not counts:
        return Drawing(name, title, "No figure: results.json does not tell the training records of each class.", "")
    figure, ax = canvas()
    drawn, missing = [], 0
    for k, attack in enumerate(telling(results, scores)):
        rows = [
            (counts[r["class"]], measures.value(r["precision"]))
            for r in results["attacks"][attack].get("per_class", [])
        ]
        xy = np.array([row for row in rows if row[1] is not None]).reshape(-1, 2)
        if k == 0:
            missing = classes - len(xy)
        if len(xy):
            first = k == 0
            ax.plot(
                *xy.T,
                ls="",
                marker=MARKERS[k % len(MARKERS)],
                ms=5.5 if first else 4.5,
                color=hue[attack],
                mfc=hue[attack] if first else "none",
                alpha=0.85,
                zorder=3 - k * 0.1,
                label=measures.short(results, attack),
            )
            drawn.append(attack)
    if not drawn:
        return Drawing(name, title, "No figure: no class of this run has a precision.", "")
    ax.axhline(0.5, color=GRAY, lw=1.2, ls="--", label="guessing")
    ax.set(ylim=(-0.03, 1.03), xlabel="training records of the class", ylabel="precision on the class")
    if max(counts) > 20 * max(1, min(counts)):
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    legend(figure, ax)
    caption = (
        "One mark per class and attack. To the right: how many records of the class the target was trained on."
        " Upwards: of the records of that class that the attack called members, the share that are. Where the marks"
        " fall to the right, classes with few examples are remembered best. Small classes are judged on few records,"
        " so their marks scatter by chance alone. The dashed line is guessing, where members and others of a class"
        " are equally many."
    )
    if missing:
        none = many(missing, "class has", "classes have")
        caption += f" {none} no precision ({measures.short(results, drawn[0])}) and no mark."
    alt = f"Scatter plot of precision against {min(counts):,} to {max(counts):,} training records per class."
    return Drawing(name, title, caption, alt, figure)


def confidence(results: Results, scores: Scores) -> Drawing:
    """Histograms of the target's probability of the true class, members and non-members apart."""
    return _histogram(
        scores,
        "confidence",
        "How sure the target is of the right answer",
        "probability that the target gives the true class",
        "This is what the attack lives on. Each record was shown to the target; to the right stands the probability"
        " that it gave to the record's true class, upwards the share of records. If the target treated records that"
        " it was trained on like all others, the two shapes would be the same.",
    )


def entropy(results: Results, scores: Scores) -> Drawing:
    """Histograms of the normalized entropy of the target's answers, members and non-members apart."""
    return _histogram(
        scores,
        "entropy",
        "How undecided the target is",
        "normalized entropy of the answer",
        "The same records, and how the target spread its answer over the classes, whatever the true one: 0, all on"
        " one class; 1, equally on all. Members at the left and non-members further right mean that the hesitation"
        " alone gives membership away.",
    )


def learning_curves(results: Results, scores: Scores) -> Drawing:
    """Training loss and accuracy of the shadows by epoch."""
    name, title = "learning_curves", "How the shadow models learned"
    shadows = results["shadows"]
    curves = shadows.get("curves") or {}
    if not curves.get("epoch"):
        caption = (
            "No figure: this run has no learning curves of its shadow models. Models trained elsewhere, for instance by"
            " a prediction service, do not show them."
        )
        return Drawing(name, title, caption, "")
    figure, axes = canvas(2, height=4.6)
    epoch = curves["epoch"]
    marker = "o" if len(epoch) == 1 else None
    for ax, measure, unit in zip(axes, ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        band = curves[measure]
        ax.fill_between(epoch, band["low"], band["high"], color="#0072B2", alpha=0.22, lw=0, label="lowest to highest")
        ax.plot(epoch, band["mean"], color="#0072B2", marker=marker, label="mean, training records")
        ax.set_ylabel(unit)
        ax.set_ylim(bottom=0)
    unseen = measures.value(shadows.get("test_accuracy"))
    tail = ""
    if unseen is not None:
        axes[1].axhline(unseen, color="#D55E00", ls="--", label="mean, unseen records, at the end")
        tail = (
            f" The dashed line is their mean accuracy on records that they never saw, {unseen:.1%}: the distance up to"
            " the blue curve is what they learned by heart."
        )
    axes[1].set(xlabel="epoch (passes over the training records)", ylim=(0, 1.03))
    legend(figure, axes[1])
    models = f"the {shadows['count']} shadow models" if shadows["count"] > 1 else "the one shadow model"
    caption = (
        f"Loss and accuracy of {models} on their own training records while they train, measured before each step."
        f" Line: mean; band: the lowest and the highest of them.{tail}"
    )
    last = {measure: curves[measure]["mean"][-1] for measure in ("loss", "accuracy")}
    alt = (
        f"Learning curves over {len(epoch)} epochs; at the end mean training loss {last['loss']:.3f} nats, training"
        f" accuracy {last['accuracy']:.1%}."
    )
    return Drawing(name, title, caption, alt, figure)


# --- what they share -------------------------------------------------------------------------------------------------


def _histogram(scores: Scores, column: str, title: str, xlabel: str, caption: str) -> Drawing:
    """Members against non-members, values in [0, 1]."""
    found = scores.get(column)
    if found is None or not np.isfinite(found).any():
        return Drawing(column, title, f"No figure: the target's answers did not tell the {xlabel}.", "")
    figure, ax = canvas()
    edges = np.linspace(0, 1, 21)
    medians = []
    for group, rows, color in (("members", scores["member"], MEMBERS), ("non-members", ~scores["member"], OTHERS)):
        values = found[rows & np.isfinite(found)]
        share = np.histogram(np.clip(values, 0, 1), edges)[0] / max(1, len(values))
        if group == "members":
            ax.stairs(share, edges, fill=True, color=color, alpha=0.35)
        ax.stairs(share, edges, color=color, lw=2, ls="-" if group == "members" else (0, (4, 1.5)), label=group)
        medians.append(f"{group} {np.median(values):.2f}" if len(values) else f"{group}: none")
    ax.set(xlim=(-0.01, 1.01), xlabel=xlabel, ylabel="share of records")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(as_percent)
    legend(figure, ax)
    middle = f"Medians: {', '.join(medians)}."
    return Drawing(column, title, f"{caption} {middle}", f"Histograms of the {xlabel}. {middle}", figure)


def _has(results: Results, attack: str, measure: str) -> bool:
    return measures.value(results["attacks"][attack].get(measure)) is not None


def _too_few(classes: int) -> str:
    return (
        f"No figure: the data has only {many(classes, 'class', 'classes')}, and the table by class shows"
        " everything that such a figure could."
    )
