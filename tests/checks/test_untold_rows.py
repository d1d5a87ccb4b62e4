"""A part of the rows whose members, or values, are in another order is named. Most data is simulated."""

import re

import numpy as np
import pytest
import test_memorization
import test_slipped_rows
import test_unlike_signals
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor

import mia_jax as mia
from mia_jax.audits.deployed import answer_formats, remarks
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.membership import untold_rows
from mia_jax.checks.models import unlike_shadows
from mia_jax.plans import membership


def test_a_part_of_member_in_another_order_is_doubted():
    """Attacks found less, and nothing was said."""
    told = test_memorization.world(1, n=900, shadows=8)
    block = np.arange(900)
    block[300:600] = np.random.default_rng(0).permutation(block[300:600])
    known = answer_formats.of_saved(told["target"], told["shadows"])
    asked = Answered(told["labels"], told["target"], told["shadows"])
    assert remarks.of_saved(asked, told["shadow_member"], told["member"], known) == ((), ())
    p = np.stack([each[np.arange(900), told["labels"]] for each in (told["target"], *told["shadows"])])
    trained = told["shadow_member"][:, block]
    related = membership.related(np.vstack([told["member"], trained]))
    (doubt,) = untold_rows.doubts(p, trained, told["member"], related)
    assert re.search("In rows [23].* shadows are told with an AUC of 0.[345].* shadow_member, or the", doubt), doubt
    (doubt,) = remarks.of_saved(asked, told["shadow_member"], told["member"][block], known).doubts
    assert re.search("In rows [23].* to [56].* the target is told with an AUC of 0.[345].*, elsewhere with [01]", doubt)


@pytest.mark.parametrize("name", ["shadow_member", "shadows"])
def test_half_of_the_rows_of_all_shadows_from_another_seed_is_doubted(name):
    """LiRA had .595 for .677 on real diabetes, without a word: each shadow of 16 tells little, and all together do."""
    first, second = (test_memorization.world(seed, n=450, shadows=16, memory=1.2, classes=3) for seed in (1, 1))
    other = test_memorization.world(2, n=450, shadows=16, memory=1.2, classes=3)
    second[name] = second[name].copy()
    second[name][:, 225:] = other[name][:, 225:] if name == "shadow_member" else first[name][::-1, 225:]

    def said(told):
        known = answer_formats.of_saved(told["target"], told["shadows"])
        asked = Answered(told["labels"], told["target"], told["shadows"])
        return remarks.of_saved(asked, told["shadow_member"], told["member"], known)

    assert said(first) == ((), ())
    (doubt,) = said(second).doubts
    assert re.search("In rows 2[0-4].* shadows are told with an AUC of 0.[45].* or from another run", doubt), doubt


@pytest.mark.integration
@pytest.mark.parametrize("fault", ["shuffled", "slipped"])
def test_values_of_a_part_that_are_not_those_of_the_training_are_doubted(fault):
    """LiRA had .728 and .664 where .875 is right, without a word."""
    x, y = load_diabetes(return_X_y=True)
    member = np.random.default_rng(1).random(len(y)) < 0.5

    def fit(x, y, *, seed):
        return RandomForestRegressor(30, random_state=seed).fit(x, y)

    target, given = fit(x[member], y[member], seed=0), y.copy()
    more = dict(shadows=fit, num_shadows=8, attacks="lira", signal="squared_error", notify=lambda line: None)
    assert mia.audit(target, x, given, member, **more).results["doubts"] == []
    part = y[150:300]
    given[150:300] = np.roll(part, 1) if fault == "slipped" else np.random.default_rng(0).permutation(part)
    with pytest.warns(AnswersWarning, match="seem to be in another order"):
        (doubt,) = mia.audit(target, x, given, member, **more).results["doubts"]
    assert "the target is told with an AUC of 0." in doubt and "seem to be in another order" in doubt


@pytest.mark.slow
def test_honest_files_are_hardly_ever_doubted():
    """One is: a series that drifts, members first, where the target is told elsewhere far better than shadows are."""
    looked, found = 0, []
    for name, make in test_slipped_rows.HONEST.items():
        for seed in range(40, 50):
            told = make(seed)
            y, rows, member = told["labels"], np.arange(len(told["labels"])), told["member"]
            p = np.stack([told["target"][rows, y], *(each[rows, y] for each in told["shadows"])])
            related = membership.related(np.vstack([member, told["shadow_member"]]))
            for order in (
                rows,
                np.argsort(~member, kind="stable"),
                np.argsort(y, kind="stable"),
                np.argsort(p[1:].mean(0)),
            ):
                given = unlike_shadows.logits(p)[:, order], told["shadow_member"][:, order], member[order], related
                found += [(name, seed, said) for said in untold_rows.doubts(*given)]
                looked += 1
    for seed in range(200):
        models, trained = test_unlike_signals.world(40_000 + seed)
        related = membership.related(trained)
        found += [(seed, said) for said in untold_rows.doubts(models, trained[1:], trained[0], related)]
        looked += 1
    assert looked > 1400 and len(found) <= 1, found
