"""The ROC of a notebook."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import mia_jax as mia
from mia_jax.types import InputError

MEMBER = np.arange(2000) < 1000
SCORES = np.random.default_rng(0).normal(MEMBER)


def test_curves_are_those_of_the_scores_and_nan_is_left_out():
    ax = mia.draw_roc({"a": SCORES, "b": np.append(np.nan, -SCORES[1:])}, MEMBER, ax=Figure().subplots())
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert {*lines} == {"a", "b", "guessing"}
    curve = mia.statistics.roc(SCORES, MEMBER)
    fpr, tpr = lines["a"].get_data()
    np.testing.assert_array_equal(tpr[tpr > 0], np.interp(fpr, curve.fpr, curve.tpr)[tpr > 0])
    assert np.nanmean(lines["b"].get_ydata()) < np.nanmean(tpr)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_it_draws_where_it_is_told_and_else_a_figure_of_its_own(tmp_path):
    figure = Figure()
    ax = figure.subplots()
    assert mia.draw_roc(SCORES, MEMBER, ax=ax) is ax
    from matplotlib import pyplot

    alone = mia.draw_roc(SCORES, MEMBER)
    alone.figure.savefig(tmp_path / "roc.png")
    assert (tmp_path / "roc.png").stat().st_size > 1000
    pyplot.close(alone.figure)


def test_scores_of_another_length_are_refused():
    with pytest.raises(InputError, match="one of each per record"):
        mia.draw_roc(SCORES[1:], MEMBER, ax=Figure().subplots())
