"""What the checks would not notice: said of weak memories alone, and true of other instances of the same mistakes."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mia_jax.audits.deployed import answer_formats, numbers, remarks
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.checks import unnoticed

pytestmark = pytest.mark.usefixtures("whole_audits")

CANNOT = "What the checks cannot see in these "
SPLIT = "member of another split"


def world(records, memory, seed=0, shadows=16, classes=4):
    """SIMULATED answers of models whose logit of the true class is larger by ``memory`` where they trained."""
    rng = np.random.default_rng(seed)
    labels, hardness = rng.integers(0, classes, records), rng.normal(0, 1.5, records)
    who = np.array([rng.permutation(records) < records // 2 for _ in range(1 + shadows)])
    logits = rng.normal(0, 1, (1 + shadows, records, classes))
    logits[:, np.arange(records), labels] += 1.5 + hardness + memory * who + rng.normal(0, 0.7, who.shape)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)
    return unnoticed.Given(labels, p[0], p[1:], who[1:], who[0])


def said(given, trials=True):
    known = answer_formats.of_saved(given.target, given.shadows)
    return remarks.of_saved(Answered(*given[:3]), given.trained, given.member, known, trials=trials)


def of_numbers(given):
    rows = np.arange(len(given.labels))
    target, shadows = (np.log(p[..., rows, given.labels]) for p in (given.target, given.shadows))
    return given._replace(labels=None, target=target, shadows=shadows)


@pytest.mark.parametrize("memory", [pytest.param(0.3, marks=pytest.mark.integration), 0.5])
def test_weak_memories_are_told_what_would_not_be_noticed(memory):
    found = said(world(300, memory))
    assert not found.doubts and len(found.notes) == 1
    assert found.notes[0].startswith(CANNOT) and SPLIT in found.notes[0]
    assert found == said(world(300, memory))  # the same mistakes each time


def test_strong_memories_are_told_nothing():
    assert said(world(600, 3.0)) == remarks.Remarks()


def test_without_shadows_a_list_that_lacks_members_is_thought_of():
    """Of a target that trained on more records than its list names, nothing else says that without shadows."""
    given = world(300, 0.3)
    alone = given._replace(shadows=given.shadows[:0], trained=given.trained[:0])
    more = "and that member names all records that trained the target (a later release may have had more)."
    [note] = unnoticed.note(alone, np.zeros((0, 300)), lambda copy: False)
    assert note.endswith(more)
    [note] = said(given).notes
    assert more not in note


def test_where_nothing_was_asked_for_no_mistake_is_made():
    assert said(world(300, 0.3), trials=False) == remarks.Remarks()


def test_what_is_said_holds_of_other_mistakes_of_the_same_kind():
    given = world(300, 0.3)
    [note] = said(given).notes
    others = [dict(unnoticed.mistakes(given, seed))[SPLIT] for seed in range(1, 6)]
    assert SPLIT in note and sum(said(other, trials=False) == remarks.Remarks() for other in others) >= 4


@pytest.mark.slow
def test_what_is_said_to_be_missed_or_seen_is_so_in_other_draws():
    """Of 24 SIMULATED files: the share of other instances that are missed, of kinds called missed, and of the rest."""
    missed, rest = [], []
    for seed in range(24):
        given = world((200, 500, 1000)[seed % 3], (0.1, 0.3, 0.5, 0.8)[seed % 4], seed)
        found = said(given)
        if not any(CANNOT in note for note in found.notes):
            continue
        for other in range(1, 5):
            for what, copy in unnoticed.mistakes(given, other):
                silent = not any(said(copy, trials=False))
                (missed if what in found.notes[0] else rest).append(silent)
    print(f"{np.mean(missed):.3f} of {len(missed)} called missed, {np.mean(rest):.3f} of {len(rest)} others")
    assert len(missed) > 100 and np.mean(missed) > 0.8 and np.mean(rest) < 0.3


def test_numbers_have_no_labels_that_could_be_exchanged():
    given = of_numbers(world(200, 0.4))
    [note] = numbers.remarks(*given[1:], trials=True).notes
    assert note.startswith(CANNOT) and "of 5 mistakes" in note and SPLIT in note
    assert not any(numbers.remarks(*of_numbers(world(400, 3.0))[1:], trials=True))


def test_unknown_members_are_no_mistake():
    [note] = said(world(300, 0.3)._replace(member=None)).notes
    assert "of 4 mistakes" in note and SPLIT not in note


def test_one_shadow_and_shadows_without_members():
    given = world(200, 0.3, shadows=1)
    assert any(CANNOT in note for note in said(given).notes)
    nobody = given._replace(trained=np.zeros_like(given.trained))
    [note] = unnoticed.note(nobody, np.zeros((1, 200)), lambda copy: False)
    assert "of 5 mistakes" in note and "shadow_member" not in note and "AUC" not in note


def test_each_mistake_changes_something_and_is_asked_about_once():
    given, asked = world(100, 0.1), []
    assert unnoticed.note(given, np.zeros((16, 100)), lambda copy: asked.append(copy) or True) == ()
    assert len(asked) == 6
    for copy in asked:
        assert any(not np.array_equal(a, b) for a, b in zip(copy, given, strict=True))
        assert [a.shape for a in copy] == [a.shape for a in given]


def test_large_files_are_not_tried():
    large = unnoticed.Given(None, np.zeros(10), np.zeros((200, 10, 501)), np.ones((200, 10), bool), None)
    assert unnoticed.note(large, np.zeros((200, 10)), lambda copy: pytest.fail("asked")) == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_of_real_models_weak_ones_alone_are_told():
    """16 models on halves of scikit-learn's tables: how many of five mistakes would be missed, in two seeds."""
    made = datasets.make_classification(800, 20, n_informative=6, n_classes=3, flip_y=0.15, random_state=0)
    weak = {
        "wine": (datasets.load_wine(return_X_y=True), lambda k: make_pipeline(StandardScaler(), LogisticRegression())),
        "shallow": (made, lambda k: DecisionTreeClassifier(max_depth=3, random_state=k)),
    }
    strong = {
        "forest": (made, lambda k: RandomForestClassifier(60, random_state=k)),
        "boosted": (made, lambda k: GradientBoostingClassifier(n_estimators=30, random_state=k)),
    }
    for name, ((x, y), make) in (weak | strong).items():
        for seed in range(2):
            rng = np.random.default_rng(seed)
            who = np.array([rng.permutation(len(y)) < len(y) // 2 for _ in range(17)])
            p = np.stack([make(k).fit(x[w], y[w]).predict_proba(x) for k, w in enumerate(who)])
            found = said(unnoticed.Given(y, p[0], p[1:], who[1:], who[0]))
            told = [note.partition("missed ")[2][:1] for note in found.notes if CANNOT in note]
            print(name, seed, told)
            assert not found.doubts and bool(told) == (name in weak)
            assert name in weak or not found.notes
