"""Where shadow_member was drawn by the audit itself, what is said of it names ``fit``, which the user gave."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.deployed import in_process
from mia_jax.checks import unnoticed

X, Y = make_classification(800, 10, n_informative=6, n_classes=4, n_clusters_per_class=1, flip_y=0.3, random_state=0)
MEMBER = np.random.default_rng(1).permutation(800) < 400


def fit(x, y, *, seed):
    return DecisionTreeClassifier(max_depth=9, random_state=seed).fit(x, y).predict_proba


def first_rows(x, y, *, seed):
    return fit(x[:200], y[:200], seed=seed)


LAST = [fit(X[300:700], Y[300:700], seed=1)]


def later(x, y, *, seed):
    """What calls share: each answers with the model of the call before."""
    LAST.append(fit(x, y, seed=seed))
    return LAST[-2]


def said(shadows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mia.audit(fit(X[MEMBER], Y[MEMBER], seed=9), X, Y, MEMBER, attacks="loss", shadows=shadows)
    return [*result.results.get("doubts", ()), *result.results["shadows"]["notes"]]


@pytest.mark.parametrize("shadows", [first_rows, later])
def test_a_fit_of_other_rows_is_looked_at(shadows):
    found = said(shadows)
    assert any("shadow_member" in text and text.endswith(in_process.OF_FIT) for text in found), found


def test_a_fit_that_is_right_and_saved_shadows_are_not():
    assert not any(in_process.OF_FIT in text for text in said(fit))
    who = np.random.default_rng(2).random((8, 800)) < 0.5
    p = np.stack([fit(X[row], Y[row], seed=k)(X) for k, row in enumerate(who)])
    found = said({"shadows": p, "shadow_member": np.roll(who, 1, axis=0)})
    assert any("shadow_member" in text for text in found) and not any(in_process.OF_FIT in text for text in found)


def test_one_sentence_is_added_and_not_to_what_no_check_can_see():
    unseen = f"{unnoticed.START} ... shadow_member of other runs"
    assert in_process.of_drawn([unseen]) == [unseen]
    assert in_process.of_drawn(["a", "b shadow_member", "c shadow_member"]) == [
        "a",
        f"b shadow_member{in_process.OF_FIT}",
        "c shadow_member",
    ]
