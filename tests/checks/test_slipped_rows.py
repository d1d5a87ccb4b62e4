"""A part of a file whose rows slipped, or are mixed up, is named, and honest files are not accused."""

import re

import numpy as np
import pytest
import services
import test_consistency
import test_memorization
import test_trained_on_all
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from test_memorization import as_labels, audited

from mia_jax import audits
from mia_jax.audits import gate
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed.infer import AnswersWarning, infer
from mia_jax.checks.answers import slipped_rows

N = 600
X, Y = make_classification(N, 12, n_informative=6, n_redundant=0, n_classes=4, flip_y=0.15, random_state=0)
MEMBER = np.array([np.random.default_rng(k).permutation(N) < N // 2 for k in range(9)])
ORDER = ("labels", "target", "shadows", "shadow_member", "member")


@pytest.fixture(scope="module")
def forests():
    fitted = [RandomForestClassifier(20, random_state=k).fit(X[rows], Y[rows]) for k, rows in enumerate(MEMBER)]
    p = np.stack([one.predict_proba(X) for one in fitted])
    return dict(labels=Y, target=p[0], shadows=p[1:], shadow_member=MEMBER[1:], member=MEMBER[0])


def in_order(told, order):
    return {name: a[:, order] if name.startswith("shadow") else a[order] for name, a in told.items()}


def slipped(p, by, start=N // 2, stop=N):
    """Probabilities or labels [n, ...] of which a part is those of the record ``by`` rows beside."""
    p = p.copy()
    p[start:stop] = np.roll(p[start:stop], -by, axis=0)
    return p


def test_a_group_of_shadows_of_which_a_row_was_lost_is_named(forests):
    """LiRA had .624 for .677 on real diabetes without a word: half of the shadows are half of their mean, too."""
    lost = np.array([slipped(p, 1) if k % 2 else p for k, p in enumerate(forests["shadows"])])
    (said,) = of_answers(forests | dict(shadows=lost))
    assert re.match(
        r"The answers of shadows 1, 3, 5, 7 \(counted from 0\) in rows (29|30)\d to 59\d .* after each", said
    )


def of_answers(told):
    return slipped_rows.of_answers(*(told[name] for name in ORDER))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("by", [1, -1, 5, -37])
def test_half_of_the_rows_that_slipped_are_named(by, ordered, forests):
    """LiRA's AUC .695 instead of .964, without a word; of records that are sorted by their class, too."""
    told = in_order(forests, np.argsort(Y, kind="stable")) if ordered else forests
    assert of_answers(told) == ()
    (said,) = of_answers(told | dict(target=slipped(told["target"], by)))
    first = int(re.search(r"target's answers in rows (\d+) to \d+ \(counted from 0\)", said)[1])
    far = f"record {'' if abs(by) == 1 else f'{abs(by)} '}{'after' if by > 0 else 'before'} each"
    assert abs(first - N // 2) <= 10 and far in said and "seem to be shifted by" in said
    if abs(by) > slipped_rows.NEAR:
        return
    shadow = told["shadows"].copy()
    shadow[2] = slipped(shadow[2], by)
    (said,) = of_answers(told | dict(shadows=shadow))
    assert said.startswith("The answers of shadow 2 (counted from 0) in rows ") and far in said


@pytest.mark.parametrize("by", [1, -3])
def test_the_labels_and_all_shadows_may_have_slipped(by, forests):
    (said,) = of_answers(forests | dict(labels=slipped(Y, by)))
    assert said.startswith("The labels in rows 30") and "fit the answers of all models" in said
    shadows = np.stack([slipped(p, -by) for p in forests["shadows"]])
    (said,) = of_answers(forests | dict(shadows=shadows))
    assert said.startswith("The shadows' answers in rows 30") or said.startswith("The shadows' answers in rows 29")
    assert f"of the record {'' if abs(by) == 1 else '3 '}{'before' if by > 0 else 'after'} each" in said


@pytest.mark.parametrize("form", ["labels", "rounded"])
def test_labels_and_rounded_answers_show_it_too(form, forests):
    change = {"labels": as_labels, "rounded": lambda p: np.round(p, 1)}[form]
    (said,) = of_answers(forests | dict(target=slipped(change(forests["target"]), 1)))
    assert "of the record after each" in said


def test_a_hundred_rows_and_the_whole_file(forests):
    (said,) = of_answers(forests | dict(target=slipped(forests["target"], 1, 100, 200)))
    assert "in rows 100 to 19" in said
    (said,) = of_answers(forests | dict(target=slipped(forests["target"], 1, 0)))
    assert "in rows 0 to 59" in said


def test_rows_in_another_order_in_a_part_are_named(forests):
    told = forests | dict(target=forests["target"].copy())
    told["target"][300:] = told["target"][300:][np.random.default_rng(0).permutation(300)]
    for given in (told, told | dict(member=None)):
        (said,) = of_answers(given)
        assert re.match(
            "In rows (280|300|320) to 599 .* the target is right on .* seem to be in another order", said
        ), said


def test_exchanged_columns_are_no_slip(forests):
    for columns in ([1, 0, 2, 3], [1, 2, 3, 0]):
        assert of_answers(forests | dict(target=forests["target"][:, columns])) == ()


def as_service(told, rows):
    new = ~told["shadow_member"]  # of a service's shadows every record is
    right = ((told["shadows"].argmax(axis=2) == told["labels"]) * new).sum(axis=0) / np.maximum(new.sum(axis=0), 1)
    return told["labels"], told["target"][rows], rows, told["member"][rows], right[None, rows]


def test_a_services_rows(forests):
    """Its shadows are not asked about these records: labels show it."""
    rows = np.flatnonzero(np.random.default_rng(0).random(N) < 0.75)  # the others are set aside
    assert slipped_rows.of_service(*as_service(forests, rows)) == ()
    (said,) = slipped_rows.of_service(*as_service(forests | dict(labels=slipped(Y, 1)), rows))
    assert "answers to rows 30" in said and "the labels of the record before each" in said
    target = forests["target"].copy()
    target[rows] = slipped(target[rows], -1, len(rows) // 2, len(rows))
    (said,) = slipped_rows.of_service(*as_service(forests | dict(target=target), rows))
    assert "in the order in which they were asked, fit the labels of the record before each" in said
    target = forests["target"].copy()
    target[rows[150:]] = target[np.random.default_rng(0).permutation(rows[150:])]
    (said,) = slipped_rows.of_service(*as_service(forests | dict(target=target), rows))
    assert "seem to be in another order than the records" in said


# --- honest files ----------------------------------------------------------------------------------------------------


def unalike(seed, n=2000, classes=3, shadows=4):
    """A target that agrees with no shadow: a walk without drift, which the largest sum over a run is hardest for."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), (shadows + 1, n))
    labels, trained = rng.integers(classes, size=n), rng.random((shadows + 1, n)) < 0.5
    return dict(labels=labels, target=p[0], shadows=p[1:], shadow_member=trained[1:], member=trained[0])


def in_series(seed, n=600, shadows=4, memory=4.0, drift=0.97):
    """Records that resemble their neighbors, as frames of films do, in class and in what is hard."""
    rng = np.random.default_rng(seed)
    walk = np.zeros((n, 4))
    for i in range(1, n):
        walk[i] = drift * walk[i - 1] + rng.normal(size=4)
    labels, trained = walk.argmax(axis=1), rng.random((shadows + 1, n)) < 0.5
    z = walk + np.eye(4)[labels] * (memory * trained)[..., None] + rng.normal(size=(shadows + 1, n, 4))
    p = test_trained_on_all.probabilities(z)
    return dict(labels=labels, target=p[0], shadows=p[1:], shadow_member=trained[1:], member=trained[0])


def pairs_of_copies(seed):
    """Every record twice, one after the other."""
    told = test_memorization.world(seed, n=300)
    return in_order(told, np.repeat(np.arange(300), 2))


def from_consistency(make):
    def told(seed):
        labels, target, shadows = make(seed)
        trained = np.random.default_rng(seed).random((len(shadows) + 1, len(labels))) < 0.5
        return dict(labels=labels, target=target, shadows=shadows, shadow_member=trained[1:], member=trained[0])

    return told


HONEST = {
    **{
        f"world {name}": lambda seed, o=options: test_memorization.world(seed, **o)
        for name, options in test_memorization.HONEST.items()
    },
    "noise": lambda seed: test_trained_on_all.given(seed),
    "null": lambda seed: test_trained_on_all.given(seed, target=False),
    "no memory": lambda seed: test_trained_on_all.given(seed, memory=0.0, skill=2.5),
    "far better": lambda seed: test_memorization.world(seed, n=1500, memory=8.0, of_target=0.0, better=4.0),
    "consistency": from_consistency(test_consistency.world),
    "a rare class": from_consistency(lambda seed: test_consistency.unequal(seed, n=1000, classes=2)),
    "rare classes": from_consistency(lambda seed: test_consistency.unequal(seed, n=1000, classes=12)),
    "unalike": unalike,
    "in series": in_series,
    "slowly": lambda seed: in_series(seed, drift=0.999),
    "copies": pairs_of_copies,
}
ORDERS = {
    "as drawn": lambda told: np.arange(len(told["labels"])),
    "by class": lambda told: np.argsort(told["labels"], kind="stable"),
    "members first": lambda told: np.argsort(~told["member"], kind="stable"),
    "easy first": lambda told: np.argsort(-told["easy"], kind="stable"),
}


def without_one(told):
    """A file whose last shadow, if there are several, only says what is easy."""
    easy = told["shadows"][-1][np.arange(len(told["labels"])), told["labels"]]
    rest = slice(None, max(1, len(told["shadows"]) - 1))
    return told | dict(easy=easy, shadows=told["shadows"][rest], shadow_member=told["shadow_member"][rest])


def accused(seeds, forms=("full", "labels", "rounded"), orders=tuple(ORDERS)):
    """Honest files and services that are doubted, and how many were looked at."""
    found, looked = [], 0
    for name, make in HONEST.items():
        for seed in seeds:
            whole = without_one(make(seed))
            for form in forms:
                formed = whole | test_trained_on_all.formed(whole, form)
                for order in orders:
                    told = in_order(formed, ORDERS[order](formed))
                    rows = np.flatnonzero(
                        told["member"] | (np.random.default_rng(seed).random(len(formed["labels"])) < 0.5)
                    )
                    for said in (
                        of_answers(told),
                        of_answers(told | dict(member=None)),
                        slipped_rows.of_service(*as_service(told, rows)),
                    ):
                        looked += 1
                        if said:
                            found.append((name, form, order, seed, said))
    return found, looked


@pytest.mark.parametrize("order", ["members first", pytest.param("as drawn", marks=pytest.mark.integration)])
def test_honest_files_are_not_doubted(order):
    found, looked = accused(range(1), ["full"], [order])
    assert found == [] and looked > 75


@pytest.mark.slow
def test_many_honest_files_are_not_doubted():
    found, looked = accused(range(100, 103))
    print(f"{len(found)} of {looked} honest ones doubted")
    assert looked > 3000 and len(found) <= 1, found


# --- in an audit -----------------------------------------------------------------------------------------------------


def test_an_audit_says_it_first_and_the_gate_closes(tmp_path, forests):
    told = forests | dict(target=slipped(forests["target"], 1))
    results = audited(tmp_path, told)
    (doubt,) = results["doubts"]
    assert "fit the shadows' of the record after each: they seem to be shifted by one there" in doubt
    with pytest.raises(gate.GateExceeded, match=r"cannot tell .*shifted by one"):
        gate.enforce(gate.parse("auc>0.99"), results)
    with pytest.warns(AnswersWarning, match="shifted by one"):
        infer("loss", **told)


@pytest.mark.parametrize(
    "fault", [pytest.param("labels", marks=pytest.mark.slow), pytest.param("answers", marks=pytest.mark.integration)]
)
def test_a_service_says_it(fault, tmp_path):
    """The labels of half of the file, or the service's answers from some request on, are those of the record before."""
    pytest.importorskip("httpx")
    forest = RandomForestClassifier(20, random_state=0).fit(X[:250], Y[:250])
    np.savez(
        tmp_path / "mine.npz", x=X, y=slipped(Y, -1, 100, 300) if fault == "labels" else Y, member=np.arange(N) < 250
    )
    asked = []

    def predict(x):
        before = [p for _, p in asked[-1:]] or [forest.predict_proba(x[:1])[0]]
        asked.extend(zip(x, forest.predict_proba(x), strict=True))
        own = [p for _, p in asked[-len(x) :]]
        late = fault == "answers" and len(asked) > 150
        return [list(p) for p in ([*before, *own[:-1]] if late else own)]

    with services.answering(predict) as url:
        config = DeployedConfig(
            target=url,
            data=str(tmp_path / "mine.npz"),
            workdir=str(tmp_path / "run"),
            target_kind="sklearn:sklearn.ensemble.RandomForestClassifier",
            num_shadows=2,
            attacks="loss,lira_offline",
            rows_per_request=32,
            in_flight=1,
            recheck=0,
        )
        (doubt,) = audits.run(config)["doubts"]
    order = r"\), in the order in which they were asked," if fault == "answers" else r"\)"
    assert re.search(rf"counted from 0{order} fit the labels of the record (before|after) each", doubt), doubt
