"""Targets that answer otherwise than their shadows in more than the format: nearly always labels, or calibrated."""

import warnings

import attack_worlds as worlds
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats, calibration, infer, remarks
from mia_jax.audits.deployed import attack as shown
from mia_jax.checks.models import temperatures
from mia_jax.models import networks
from mia_jax.reports import report
from mia_jax.statistics import metrics
from mia_jax.targets import black_box, defenses, platforms, server
from mia_jax.types import Answers, Records, Target

pytestmark = pytest.mark.usefixtures("one_device")

WORLD = worlds.gaussian(41, 1200, 12, shift=3.0, spread=1.5, level=-1.5)  # members are mostly right, others wrong
SHADOWS = worlds.others(WORLD)
FULL = np.exp(worlds.answers(WORLD.phi, WORLD.y).astype(np.float64))
LEVEL = worlds.gaussian(41, 1200, 12, shift=3.0, spread=3.0, level=2.0)
SURE = np.exp(worlds.answers(LEVEL.phi, LEVEL.y).astype(np.float64))


def judged(attack, target, shadows, world=WORLD, known=None):
    return infer.scored(attack, infer.Answered(world.y, target, shadows), world.member[SHADOWS], known=known)


def area(one, world=WORLD):
    return metrics.auc(one.scores, world.member[0]).value


def labels(p):
    return np.eye(p.shape[-1])[p.argmax(axis=-1)]


def warned(target, shadows, world=WORLD, **more):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        infer.infer("lira", labels=world.y, target=target, shadows=shadows, shadow_member=world.member[SHADOWS], **more)
    return [str(one.message) for one in caught]


# --- nearly always labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["any", "surest"])
def test_a_target_that_nearly_always_answers_with_labels_is_read_as_such(which):
    """Its few probabilities made it one of full precision, and LiRA compared its labels with soft answers."""
    order = np.argsort(-FULL[0].max(axis=1)) if which == "surest" else np.random.default_rng(0).permutation(1200)
    target, shadows = FULL[0].copy(), FULL[SHADOWS]
    target[order[:1164]] = labels(target[order[:1164]])
    plain = answer_formats.of_saved(target, shadows, common=False)
    both = area(judged("lira", labels(target), labels(shadows)))
    before, after = judged("lira", target, shadows, known=plain), judged("lira", target, shadows)
    assert set(after.choice.measured) == {calibration.AS_TARGET, calibration.IN_FULL, calibration.AS_LABELS}
    assert both > 0.84 and area(after) > both - 0.01 and area(before) < both - 0.04
    (note,) = warned(target, shadows)
    assert note.startswith("The target answers 97% of the records with 1 for one class and 0 for the others, and the")


def test_labels_are_chosen_where_they_do_better(monkeypatch):
    """Shadows whose probabilities tell of other records than the target's are read as labels, and so is it."""
    target, shadows = FULL[0].copy(), FULL[SHADOWS]
    target[:1164] = labels(target[:1164])
    worse = defenses.AnswerDefense("noise", lambda log_p: log_p * 0 + np.log(1 / worlds.CLASSES), lambda a: a, False)
    monkeypatch.setattr(defenses, "surest", lambda share: worse)
    one = judged("lira", target, shadows)
    assert one.choice.answer == calibration.AS_LABELS
    np.testing.assert_array_equal(one.scores, judged("lira", labels(target), labels(shadows)).scores)


def test_rounded_answers_and_shadows_of_the_same_kind_are_no_labels():
    target, shadows = labels(FULL[0]), labels(FULL[SHADOWS])
    for p in (target, *shadows):
        p[:40] = FULL[0][:40]
    assert answer_formats.of_saved(target, shadows).labeled is None  # all of them are like that
    assert answer_formats.of_saved(target.round(2), FULL[SHADOWS]).labeled is None
    assert answer_formats.of_saved(target, FULL[SHADOWS]).labeled == pytest.approx(1160 / 1200)


def test_the_surest_share_of_answers_become_labels():
    log_p = np.log(FULL[0]).astype(np.float32)
    told = np.exp(np.asarray(defenses.surest(0.25)(log_p)))
    hard = (told > 1e-30).sum(axis=1) == 1
    assert hard.sum() == 300 and log_p.max(axis=1)[hard].min() >= log_p.max(axis=1)[~hard].max()
    np.testing.assert_allclose(told[~hard], FULL[0][~hard], rtol=1e-5)
    np.testing.assert_array_equal(told.argmax(axis=1), log_p.argmax(axis=1))


# --- calibrated ------------------------------------------------------------------------------------------------------


def cooled(p, t):
    z = np.log(p) / t
    return np.exp(z - np.logaddexp.reduce(z, axis=-1, keepdims=True))


@pytest.mark.parametrize("t", [0.5, 1.5, pytest.param(3.0, marks=pytest.mark.integration)])
def test_a_calibrated_target_is_remarked_upon(t):
    shadows = SURE[SHADOWS]
    for more in ({}, {"member": LEVEL.member[0]}):
        (note,) = warned(cooled(SURE[0], t), shadows, LEVEL, **more)
        told = float(note.partition("divided by ")[2].partition(": it may")[0])
        assert told == pytest.approx(t, rel=0.1) and "divide the shadows' logits by" in note
    assert not warned(cooled(SURE[0], t), cooled(shadows, t), LEVEL)
    before, after = (area(judged("lira", cooled(SURE[0], t), q, LEVEL), LEVEL) for q in (shadows, cooled(shadows, t)))
    assert before < after - 0.04  # what the advice is worth


# --- less, or more, sure for another reason --------------------------------------------------------------------------

X, Y = make_classification(600, 12, n_informative=6, n_redundant=0, n_classes=4, flip_y=0.15, random_state=0)
TRAINED = np.array([np.random.default_rng(k).permutation(600) < 300 for k in range(9)])


def forest(x, y, seed):
    return RandomForestClassifier(20, random_state=seed).fit(x, y)


@pytest.fixture(scope="module")
def forests():
    return np.stack([forest(X[rows], Y[rows], k).predict_proba(X) for k, rows in enumerate(TRAINED)])


def said_of(p, trained=TRAINED, labels=Y):
    asked, known = infer.Answered(labels, p[0], p[1:]), answer_formats.of_saved(p[0], p[1:])
    said = []
    for truth in (None, trained[0]):  # who trained the target is not known, or is
        given = asked, trained[1:], truth, known
        said.append(" ".join([*remarks.of_saved(*given).notes] or [*remarks.calibrated(*given)]))
    return said


@pytest.mark.parametrize("fault", ["half of the rows off by one", "other units", "a class never learned"])
def test_what_no_temperature_explains_is_not_called_calibrated(fault, forests):
    """Each was called calibrated, with the advice to divide the shadows' logits by .2 or so."""
    p, trained = forests.copy(), TRAINED.copy()
    if fault == "half of the rows off by one":
        p[0][300:] = np.roll(p[0][300:], 1, axis=0)
    elif fault == "other units":
        p[0] = forest(X[TRAINED[0]], Y[TRAINED[0]], 0).predict_proba(X * np.linspace(5, 300, 12) + 100)
    else:
        rows = TRAINED[0] & (Y != 3)
        p[0], trained[0] = 0, rows
        p[0][:, :3] = forest(X[rows], Y[rows], 0).predict_proba(X)
    unknown, known = said_of(p, trained)
    assert "calibrated" not in unknown + known
    if fault == "a class never learned":
        assert known.startswith("No member of class 3 (counted from 0), of which there are ")


def test_a_forest_that_is_calibrated_is_told(forests):
    for t in (1.5, 3.0):
        target = cooled(np.maximum(forests[0], 0.02), t)
        assert all("calibrated (temperature scaling)" in said for said in said_of(np.stack([target, *forests[1:]])))
    assert said_of(forests) == ["", ""]


def test_a_sigmoid_that_was_applied_twice_is_undone_as_a_sigmoid(forests):
    """The advice was that of a softmax: it gave (1 + p) / 2."""
    two = forests[..., :2].sum(axis=-1)
    twice = 1 / (1 + np.exp(-two[0]))
    p = np.stack([np.stack([1 - q, q], axis=-1) for q in (twice, *two[1:])])
    said = temperatures.softmax_twice_note(p[0], p[1:])
    assert said is not None and "sigmoid of probabilities" in said
    assert "np.log(q / (1 - q)), for class 1, of q, its column of target" in said
    np.testing.assert_allclose(np.log(twice / (1 - twice)), two[0], atol=1e-12)


def test_a_softmax_that_was_applied_twice_is_told_from_calibration(forests):
    """LiRA's AUC .632 instead of .894 on such forests, with the advice to divide the shadows' logits by 3.7."""
    twice = np.exp(forests) / np.exp(forests).sum(axis=-1, keepdims=True)
    for p, whose in (([twice[0], *forests[1:]], "The target's"), ([forests[0], *twice[1:]], "The shadows'")):
        for said in said_of(np.stack(p)):
            assert said.startswith(f"{whose} answers look like a softmax of probabilities") and "calibrated" not in said
    z = np.log(twice[0])
    np.testing.assert_allclose(z + (1 - z.sum(-1, keepdims=True)) / 4, forests[0], atol=1e-12)
    for said in said_of(twice):  # attacks that compare are right, and others are not
        assert said.startswith("All models' answers look like a softmax of probabilities") and "are misled" in said
    assert not temperatures.softmax_twice(cooled(np.maximum(forests[0], 0.02), 3.0))
    assert not temperatures.softmax_twice(np.random.default_rng(0).dirichlet(np.full(4, 50.0), 600))


def test_a_column_that_is_in_no_label_is_named(forests):
    p = np.concatenate([forests, np.zeros((9, 600, 1))], axis=2)
    p[0][p[0].max(axis=1) < 0.5] = [0, 0, 0, 0, 1]
    for said in said_of(p):
        assert "an abstain column?" in said and "calibrated" not in said
    spread = np.concatenate([0.9 * forests, np.full((9, 600, 1), 0.1)], axis=2)
    assert said_of(spread) == ["", ""]  # the shadows have it, too: a class that the file lacks


@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_a_temperature_is_told_only_where_it_is_the_same_everywhere(shift):
    """Of two targets that differ from their shadows by a factor on average, that which has it in all rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 1000)
    logits = rng.normal(0, 1, (9, 1000, 5)) + 3 * np.eye(5)[y]

    def model(z):
        return temperatures.Model(temperatures.losses(z, y), None)

    shadows, part = [model(z) for z in logits[1:]], temperatures.blocks_of_rows(1000)[:, None]
    uneven = logits[0] / 2.0 ** (shift + np.repeat([1.5, -1.5], 500)[:, None])
    assert temperatures.explained(model(logits[0] / 2.0**shift), shadows, part, same_records=True)
    assert not temperatures.explained(model(uneven), shadows, part, same_records=True)


def test_losses_at_temperatures():
    log_p, y = np.log(SURE[0]).astype(np.float32), LEVEL.y
    from mia_jax import signals

    np.testing.assert_allclose(
        temperatures.losses(log_p, y), signals.tempered_losses(log_p, y, temperatures.STEPS), rtol=1e-4, atol=1e-5
    )
    assert temperatures.fitted(temperatures.losses(np.log(cooled(SURE[0], 3)), y)) == pytest.approx(
        temperatures.fitted(temperatures.losses(log_p, y)) - np.log2(3), abs=0.03
    )


def test_a_defense_that_leaves_the_format_as_it_is_reaches_shadows():
    """--defenses=temperature(3) of a deployed audit did nothing."""
    log_p = np.log(SURE[0]).astype(np.float32)
    target = Target(lambda x: log_p, Answers(worlds.CLASSES))

    def seen(*worn):
        observer = shown.defended_observer(lambda key, target, records: target.ask(records.x), worn)
        return np.exp(np.asarray(observer(None, target, Records(np.zeros((len(log_p), 1)), LEVEL.y))))

    np.testing.assert_allclose(seen(defenses.temperature(3)), cooled(SURE[0], 3), atol=1e-5)
    assert not np.allclose(seen(defenses.bounded_noise(0.5)), SURE[0], atol=1e-3)
    np.testing.assert_array_equal(seen(defenses.top_k(worlds.CLASSES)), np.exp(log_p))


@pytest.mark.slow
def test_a_calibrated_service_and_the_remedy(compiled_once, tmp_path):
    pytest.importorskip("httpx")
    rng = np.random.default_rng(0)
    x, y = (rng.random((420, 24)) < 0.5).astype(np.uint8), rng.integers(0, 4, 420).astype(np.int32)
    member = np.isin(np.arange(420), rng.permutation(420)[:100])
    target = platforms.network(networks.mlp(4, hidden=(32,)), 4, num_epochs=60).fit(x[member], y[member], seed=3)
    np.savez(tmp_path / "mine.npz", x=x, y=y, member=member)
    found = {}
    with server.serve(black_box.defend(target, defenses.temperature(4)), (24,), dtype=np.dtype(np.uint8)) as url:
        for chosen in ("", "temperature(4)"):
            found[chosen] = audits.run(
                DeployedConfig(
                    target=url + server.paths()["vertex"],
                    data=str(tmp_path / "mine.npz"),
                    workdir=str(tmp_path / f"run{len(found)}"),
                    num_shadows=4,
                    num_epochs=60,
                    hidden=32,
                    attacks="loss,lira_offline",
                    defenses=chosen,
                )
            )
    (note,) = found[""]["shadows"]["notes"]
    told = float(note.partition("divided by ")[2].partition(": it may")[0])
    assert 2.5 < told < 6.5 and "`defenses='temperature(" in note
    assert note in " ".join(report.terminal_table(found[""]).split())
    assert found["temperature(4)"]["shadows"]["notes"] == []
    before, after = (found[chosen]["attacks"]["loss"]["balanced_accuracy"]["value"] for chosen in found)
    assert after > before  # its boundary is that of shadows
