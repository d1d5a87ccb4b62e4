"""The figure of an audit by canaries. NumPy only; matplotlib as in ``figures``."""

import numpy as np

from mia_jax.reports.figures import MEMBERS, OTHERS, Drawing, as_percent, canvas, legend
from mia_jax.reports.measures import Results, Scores


def suspicion(results: Results, scores: Scores) -> Drawing:
    """The canaries' scores, those in training against those left out."""
    title = "Canaries in the training data, and canaries left out"
    score, member = scores["score_canaries"].astype(float), scores["member"].astype(bool)
    figure, ax = canvas()
    edges = np.histogram_bin_edges(score, 24)
    groups = (("in training", member, MEMBERS, "-"), ("left out", ~member, OTHERS, (0, (4, 1.5))))
    for name, rows, color, dash in groups:
        share = np.histogram(score[rows], edges)[0] / rows.sum()
        ax.stairs(share, edges, color=color, lw=2, ls=dash, label=name)
    beside = {"mislabelled": "the other wrong labels"}.get(results["canaries"]["kind"], "all other labels")
    beside = "labels that it might have had" if "," in results["canaries"]["kind"] else beside
    ax.set(xlabel=f"how much likelier than {beside}", ylabel="share of canaries")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(as_percent)
    legend(figure, ax)
    middle = f"Medians: in training {np.median(score[member]):.2f}, left out {np.median(score[~member]):.2f}."
    caption = (
        "To the right: how likely the model finds the canary's label, on a logarithmic scale. A model that tells"
        f" nothing of single records makes both shapes the same; the further apart, the larger the epsilon"
        f" proven. {middle}"
    )
    return Drawing("suspicion", title, caption, f"Histograms of the canaries' scores. {middle}", figure)
