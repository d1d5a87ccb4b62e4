"""Unlearning whose parts were exchanged, and honest ones. All data are SIMULATED."""

import re

import numpy as np
import pytest

from mia_jax.audits.unlearning import unlearning
from mia_jax.checks import unlearned

HONEST = 200


def masks(rng, kind, models, n):
    """bool [K, n]: complementary halves in pairs, free draws, or the same third in all models."""
    if kind == "pairs":
        halves = [rng.permutation(n) < n // 2 for _ in range(models // 2)]
        return np.stack([m for half in halves for m in (half, ~half)])
    if kind == "same":
        return np.tile(np.arange(n) < n // 3, (models, 1))
    drawn = rng.random((models, n)) < rng.uniform(0.2, 0.7, size=(models, 1))
    drawn[:, 0] = True
    return drawn


def signals(rng, models, n):
    """[K, n]: models of unequal quality about records of unequal hardness, at times with heavy tails or rounded."""
    noise = rng.standard_t(2, size=(models, n)) if rng.random() < 0.3 else rng.normal(size=(models, n))
    spread = rng.uniform(0.7, 1.3, size=(models, 1)) * rng.normal(size=n) * rng.choice([0.5, 2, 5])
    found = spread + noise + rng.normal(size=(models, 1))
    return np.round(found) if rng.random() < 0.2 else found


def test_honest_retrained_models_are_not_doubted():
    rng, doubted = np.random.default_rng(0), 0
    for _ in range(HONEST):
        models, n = int(rng.choice([4, 6, 8, 16])), int(rng.choice([8, 12, 50, 300]))
        forgotten = masks(rng, rng.choice(["pairs", "free", "same"]), models, n)
        doubted += bool(unlearned.retrained(signals(rng, models, n), forgotten))
    assert doubted == 0


def test_honest_models_before_and_after_unlearning_are_not_doubted():
    """Whatever they remember, however much of it is unlearned, and if unlearning harms all that they know."""
    rng, doubted, told = np.random.default_rng(1), 0, 0
    for _ in range(HONEST):
        models, n = int(rng.choice([4, 6, 8, 16])), int(rng.choice([12, 50, 300]))
        forgotten = masks(rng, rng.choice(["pairs", "free", "same"]), models, n)
        all_models, memory = signals(rng, 2 * models, n), rng.choice([0, 0.5, 2, 8]) * forgotten
        retrained = all_models[models:] + rng.choice([0, 0, 0.3])  # trained a little longer
        original = all_models[:models] + memory
        after = all_models[:models] + rng.choice([-0.3, 0, 0.3, 1]) * memory - rng.choice([0, 0.5, 3])
        doubted += bool(unlearned.before(original, forgotten, retrained))
        doubted += bool(unlearned.other_half(after, forgotten, retrained))
        doubted += bool(unlearned.gained(original, after, forgotten))
        doubted += bool(unlearned.of_others(after, forgotten, all_models[models:]))
        told += bool(unlearned.before(original, ~forgotten, retrained))
    assert doubted == 0 and told > HONEST / 4


@pytest.mark.parametrize(("models", "n"), [(6, 60), (8, 100), (16, 300)])
@pytest.mark.parametrize("left", [0.0, 0.5, 1.0])
def test_models_retrained_on_the_forget_set_and_inverted_masks_are_doubted(models, n, left):
    """Efficacy was far too low, and no word; of one set for all models, "not told"."""
    rng, forgotten = np.random.default_rng(1), masks(np.random.default_rng(2), "pairs", models, n)
    hard = rng.normal(size=n)
    original, after, retrained = (hard + rng.normal(size=(models, n)) + 3 * part * forgotten for part in (1, left, 0))
    assert unlearning(after, retrained, forgotten=forgotten, original=original).doubts == ()
    (doubt,) = unlearning(after, retrained + 3, forgotten=forgotten, original=original).doubts
    assert "trained on the records that are to be forgotten, too" in doubt
    (doubt,) = unlearning(after, retrained, forgotten=~forgotten, original=original).doubts
    assert "are less sure of the records that they are said to have been trained on" in doubt and "~forgotten" in doubt
    doubts = unlearning(after, retrained, forgotten=~forgotten).doubts
    assert len(doubts) == (left > 0) and all("~forgotten gives them" in doubt for doubt in doubts)
    one_set = unlearning(hard + rng.normal(size=(models, n)) + 3, retrained + 3, original=original + 3 * ~forgotten)
    assert "were not told from retrained ones either" in one_set.verdict and one_set.json()["efficacy_before"]["auc"]


@pytest.mark.parametrize(("models", "n"), [(6, 60), (8, 100), (16, 300)])
def test_models_retrained_without_their_own_forgotten_records_only_are_doubted(models, n):
    rng = np.random.default_rng(1)
    forgotten = masks(rng, "pairs", models, n)
    plain = rng.normal(size=n) + rng.normal(size=(models, n))
    rest = plain + 2 * ~forgotten
    after = rng.normal(size=n) + rng.normal(size=(models, n))
    for retrained, said in ((rest, "without its own forgotten"), (plain + 2 * forgotten, "models before unlearning")):
        found = unlearning(after, retrained, forgotten=forgotten)
        (doubt,) = found.doubts
        assert said in doubt and "without any of the n records" in doubt and found.json()["doubts"] == [doubt]
        assert found.verdict.startswith(f"Doubt: {doubt}\n")
    assert unlearning(after, plain, forgotten=forgotten).doubts == ()
    free = masks(rng, "free", models, n)
    assert len(unlearned.retrained(plain + 2 * ~free, free)) == 1 and unlearned.retrained(rest, free) == ()


def answers(rng, right, y):
    """Probabilities [K, n, 4] that are largest at the label where ``right`` is true, else at another class."""
    other = (y + rng.integers(1, 4, size=right.shape)) % 4
    top = np.where(right, y, other)
    return np.where(top[..., None] == np.arange(4), 0.7, 0.1) + rng.uniform(0, 0.001, size=(*right.shape, 4))


@pytest.mark.parametrize("original", [False, True])
def test_a_mask_of_other_models_is_doubted(original):
    """Nothing was unlearned, and by model-10 before model-2 privacy was at chance."""
    rng, forgotten = np.random.default_rng(0), masks(np.random.default_rng(1), "pairs", 16, 200)
    hard, noise = rng.normal(size=200), rng.normal(size=(2, 16, 200))
    after, retrained = hard + 2 * forgotten + noise[0], hard + noise[1]
    more = dict(original=after + 0.01 * rng.normal(size=after.shape)) if original else {}
    assert unlearning(after, retrained, forgotten=forgotten, **more).doubts == ()
    by_text = np.argsort([str(k) for k in range(16)])
    for wrong in (forgotten[by_text], forgotten[:, ::-1]):
        (said,) = unlearning(after, retrained, forgotten=wrong, **more).doubts
        assert "`forgotten` seems not to be that of these models" in said or "that each model did not forget" in said
    exact = hard + rng.normal(size=after.shape)
    assert unlearning(exact, retrained, forgotten=forgotten[by_text]).doubts == ()  # what was forgotten tells nothing


@pytest.mark.parametrize(("models", "n"), [(8, 60), (16, 300)])
def test_answers_before_and_after_that_were_exchanged_are_doubted(models, n):
    """Models that had forgotten all were said to remember, and no word."""
    rng, forgotten = np.random.default_rng(0), masks(np.random.default_rng(1), "pairs", models, n)
    hard, noise = rng.normal(size=n), rng.normal(size=(3, models, n))
    trained, after, retrained = hard + 2 * forgotten + noise[0], hard + noise[1], hard + noise[2]
    assert unlearning(after, retrained, forgotten=forgotten, original=trained).doubts == ()
    (said,) = unlearning(trained, retrained, forgotten=forgotten, original=after).doubts
    assert "the answers before and after it seem to be exchanged" in said
    partly = after + 0.5 * forgotten  # of which a quarter was left
    (said,) = unlearning(trained, retrained, forgotten=forgotten, original=partly).doubts
    assert "seem to be exchanged" in said


def test_where_models_before_unlearning_fit_the_mask_it_is_the_retrained_ones_that_differ():
    """As of unlearning by long training on what is kept: `forgotten` was said to be that of other models."""
    rng, forgotten = np.random.default_rng(0), masks(np.random.default_rng(1), "pairs", 16, 300)
    hard, noise = rng.normal(size=300), rng.normal(size=(3, 16, 300))
    longer, retrained = hard + 0.8 + noise[1], hard + noise[2]
    (said,) = unlearning(longer, retrained, forgotten=forgotten, original=hard + 2 * forgotten + noise[0]).doubts
    assert "the retrained ones are weaker, or were trained for a shorter time" in said and "`forgotten`" not in said
    (said,) = unlearning(longer, retrained, forgotten=forgotten).doubts
    assert "`forgotten` seems not to be that of these models" in said


def test_forgetting_too_much_beside_weaker_models_is_no_inverted_mask():
    """``original`` says who was trained on what."""
    rng, forgotten = np.random.default_rng(0), masks(np.random.default_rng(1), "pairs", 16, 200)
    hard, noise = rng.normal(size=200), rng.normal(size=(3, 16, 200))
    original, after, retrained = (
        hard + level + one + part * forgotten
        for level, part, one in zip((1.8, 1.5, 0.0), (1.0, -0.8, 0.0), noise, strict=True)
    )
    assert unlearning(after, retrained, forgotten=forgotten, original=original).doubts == ()
    better = hard + 3 + noise[2]
    assert unlearned.before(hard + noise[0] + 0.4 * forgotten, forgotten, better) == ()


def test_equal_answers_of_labels_are_no_model_that_was_asked_twice():
    labels = np.ones((16, 20))
    labels[:, 3] = np.arange(16) % 2
    assert unlearned.same({"unlearned": labels, "retrained": labels[::-1].copy(), "original": labels}) == ()


def test_models_that_answer_as_before_or_as_retrained_ones_are_doubted():
    """A model that had forgotten nothing passed: the checkpoint before unlearning was asked, among 15 right ones."""
    rng, models, n = np.random.default_rng(0), 8, 100
    forgotten = masks(rng, "pairs", models, n)
    after, retrained = (rng.normal(size=n) + rng.normal(size=(models, n)) for _ in range(2))
    original = after + 3 * forgotten
    assert unlearning(after, retrained, forgotten=forgotten, original=original).doubts == ()
    one = np.concatenate([original[:1], after[1:]])
    (doubt,) = unlearning(one, retrained, forgotten=forgotten, original=original).doubts
    assert "Unlearned model 0 (counted from 0) answers as before they unlearned, bit by bit" in doubt
    (doubt,) = unlearning(retrained, retrained, forgotten=forgotten, original=original).doubts
    assert "0, 1, 2, 3, 4, 5, 6, 7 (counted from 0) answer as the retrained ones" in doubt


@pytest.mark.parametrize("original", [False, True])
def test_saved_models_that_lost_all_but_what_they_should_forget_are_doubted(original):
    rng, models, n = np.random.default_rng(2), 8, 120
    y, forgotten = rng.integers(4, size=n), masks(np.random.default_rng(3), "pairs", 8, 120)

    def made(on_forgotten, on_others):
        return answers(rng, rng.random((models, n)) < np.where(forgotten, on_forgotten, on_others), y)

    before = {"original": made(1.0, 0.7)} if original else {}
    retrained = made(0.7, 0.7)
    found = unlearning(made(1.0, 0.3), retrained, y, forgotten=forgotten, **before)
    (doubt,) = found.doubts
    assert "are forget and retain exchanged?" in doubt and "100% of the records" in doubt
    unlike = unlearning(made(0.7, 0.5), made(1.0, 1.0), y, forgotten=forgotten)
    assert "1.000 retrained: unlearning cost that much, or the retrained ones were trained on these" in unlike.verdict
    for on_forgotten, on_others in ((1.0, 0.7), (0.7, 0.7), (0.3, 0.3), (0.0, 0.5), (1.0, 0.6)):
        honest = unlearning(made(on_forgotten, on_others), retrained, y, forgotten=forgotten, **before)
        assert honest.doubts == ()


def test_models_that_move_all_records_alike_are_not_said_to_have_exchanged_any():
    rng, doubted = np.random.default_rng(4), 0
    for _ in range(HONEST):
        models, n, m = int(rng.choice([4, 6, 8, 16])), int(rng.choice([8, 12, 50, 300])), int(rng.choice([8, 50, 200]))
        forgotten = masks(rng, rng.choice(["pairs", "free"]), models, n)
        gain = signals(rng, models, n + m) - forgotten_by(rng, forgotten, m)
        doubted += bool(unlearned.exchanged(gain[:, :n], gain[:, n:], forgotten))
    assert doubted == 0


def forgotten_by(rng, forgotten, m):
    """[K, n + m]: what is unlearned: nothing, or something."""
    return np.pad(rng.choice([0, 0, 1, 3]) * forgotten.astype(float), ((0, 0), (0, m)))


def test_models_that_are_surer_of_what_they_should_forget_are_said_to_have_exchanged_it():
    rng = np.random.default_rng(5)
    forgotten, gain = masks(rng, "pairs", 6, 60), rng.normal(size=(6, 160))
    (doubt,) = unlearned.exchanged(gain[:, :60] + 1, gain[:, 60:] - 2, forgotten)
    assert "are forget and retain exchanged?" in doubt and "unlearn(model, retain, forget, seed=...)" in doubt
    assert unlearned.exchanged(np.zeros((6, 60)), np.zeros((6, 100)), forgotten) == ()


@pytest.mark.parametrize("forgot", ["pairs", "all"])
def test_one_model_several_times_is_doubted(forgot):
    """Retrained with one seed: exact retraining, AUC one half, was said to be told from it."""
    rng, models, n = np.random.default_rng(0), 12, 150
    mask = masks(rng, "pairs", models, n) if forgot == "pairs" else np.ones((models, n), bool)
    after, again = (rng.normal(size=n) + rng.normal(size=(models, n)) for _ in range(2))
    once = np.repeat(again[:1], models, axis=0)
    assert unlearning(after, again, forgotten=mask).doubts == ()
    found = unlearning(after, once, forgotten=mask)
    assert (
        found.doubts[0].startswith("Retrained models 0 to 11 answer alike, bit by bit") and "a seed" in found.doubts[0]
    )
    assert unlearning(once, after, forgotten=mask).doubts[0].startswith("Unlearned models 0 to 11 answer alike")


def test_labels_that_unlearning_overwrote_are_named():
    """Random labels, of all records or of those that the model in question forgot, came without a word or a cause."""
    rng, models, n, classes = np.random.default_rng(0), 12, 200, 10
    forgotten = masks(rng, "pairs", models, n)
    labels = rng.integers(classes, size=n)
    p = rng.dirichlet(np.ones(classes), (2, models, n)) / 2
    p[..., np.arange(n), labels] += 0.5 * (rng.random((2, models, n)) < 0.8)
    after, retrained = p / p.sum(axis=-1, keepdims=True)
    assert unlearning(after, retrained, labels, forgotten=forgotten).doubts == ()
    other = (labels + rng.integers(1, classes, size=n)) % classes
    (said,) = unlearning(after, retrained, np.where(forgotten[0], other, labels), forgotten=forgotten).doubts
    assert re.match(r"Retrained models are right on \d+% of the records that unlearned model 0 forgot", said)
    (said,) = unlearning(after, retrained, other, forgotten=forgotten).doubts
    assert "fewer than by chance: `labels` are not those of these answers" in said


def test_a_class_that_is_forgotten_is_no_other_label():
    """Retrained models are never right on it."""
    rng, n = np.random.default_rng(0), 200
    labels, right = np.arange(n) % 10, rng.random((12, n)) < 0.8
    forgotten = np.stack([labels == 3, *(masks(rng, "pairs", 12, n)[1:] & (labels != 3))])
    assert unlearned.other_labels({"retrained": right & (labels != 3)}, forgotten, labels, 10) == ()
    few = np.where(labels < 5, 1, 2)  # records of two classes that no retrained model knows
    assert unlearned.other_labels({"retrained": np.zeros((12, n), bool)}, forgotten, few, 10) == ()


def test_poisoned_records_are_no_other_labels():
    """Records that are to be forgotten because their labels were wrong: retrained models do not know these."""
    rng, models, n, classes = np.random.default_rng(0), 12, 200, 10
    truth = rng.integers(classes, size=n)
    forgotten = masks(rng, "pairs", models, n)
    wrong = (truth + rng.integers(1, classes, size=n)) % classes
    for labels in (wrong, np.where(forgotten[0], wrong, truth)):
        p = rng.dirichlet(np.ones(classes), (3, models, n)) / 2
        p[..., np.arange(n), truth] += 0.5 * (rng.random((3, models, n)) < 0.8)
        p[0][forgotten] = np.eye(classes)[labels[np.nonzero(forgotten)[1]]]  # as they were trained
        original, after, retrained = p / p.sum(axis=-1, keepdims=True)
        (said,) = unlearning(after, retrained, labels, forgotten=forgotten).doubts
        assert "Or they are wrong since the training, as of poisoned records" in said
        assert not unlearned.other_labels(
            {name: q.argmax(axis=-1) == labels for name, q in (("original", original), ("retrained", retrained))},
            forgotten,
            labels,
            classes,
        )
        found = unlearning(after, retrained, labels, forgotten=forgotten, original=original)
        assert found.doubts == ()


def test_a_little_more_and_a_little_too_much_forgotten_is_no_inverted_mask():
    rng, forgotten = np.random.default_rng(0), masks(np.random.default_rng(1), "pairs", 16, 200)
    hard, noise = rng.normal(size=200), rng.normal(size=(2, 16, 200))
    longer, retrained = hard + 0.5 - 0.6 * forgotten + noise[0], hard + noise[1]
    assert unlearned.other_half(longer, forgotten, retrained) == ()
    assert unlearned.other_half(longer + 1.0, forgotten, retrained) != ()


def test_labels_that_are_hard_are_no_other_labels():
    """Retrained models are right on a part of them, more often than by chance."""
    rng, n = np.random.default_rng(0), 400
    labels, forgotten = np.arange(n) % 10, np.zeros((12, n), bool)
    forgotten[:, :150] = True
    for rate, told in ((0.08, True), (0.2, False)):
        right = rng.random((12, n)) < np.where(forgotten[0], rate, 0.9)
        assert bool(unlearned.other_labels({"retrained": right}, forgotten, labels, 10)) == told
