"""What answers look like, by all of them; shadows that answer as the target does; boundaries, and what has none."""

import warnings

import attack_worlds as worlds
import jax
import numpy as np
import pytest

from mia_jax import audits
from mia_jax.attacks import ATTACKS
from mia_jax.attacks.thresholds import best_threshold
from mia_jax.audits import gate
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats, calibration, infer
from mia_jax.models import networks
from mia_jax.plans import splits
from mia_jax.reports import report, results
from mia_jax.statistics import metrics
from mia_jax.targets import answer_format, answer_store, black_box, defenses, platforms, server
from mia_jax.types import Answers, Target

# --- what answers look like ------------------------------------------------------------------------------------------


def test_a_few_fractions_are_no_digits():
    leaves = np.array([[1.0, 0], [0.75, 0.25], [0.5, 0.5], [0, 1.0]])[np.arange(200) % 4]
    assert answer_format.recognize(leaves) == Answers(2, least=0.25)
    assert answer_format.recognize(leaves, few=True).digits == 2  # others are checked by what these may have been
    votes = np.random.default_rng(0).binomial(100, 0.3, (400, 1)) / 100
    assert answer_format.recognize(np.hstack([votes, 1 - votes])).digits == 2
    uneven = np.array([[0.33, 0.33, 0.33], [1.0, 0, 0]])
    assert answer_format.recognize(uneven).digits == 2  # they do not sum to one: rounded


def test_the_best_classes_are_recognized_among_sure_answers():
    p = np.array([[0.5, 0.2, 0, 0, 0], [0, 0.6, 0.3, 0, 0], [1.0, 0, 0, 0, 0], [0.999, 0.001, 0, 0, 0]])
    assert answer_format.recognize(p) == Answers(5, "top_k", k=2)


@pytest.mark.parametrize(
    "text",
    [
        "label_only()",
        "top_k(3)",
        "round_to(2)",
        "top_k(3),round_to(2)",
        "at_least(0.01)",
        "at_least(0.2)",
        "round_to(2),at_least(0.2)",
    ],
)
def test_what_is_recognized_makes_the_same_of_full_answers(text):
    worn = defenses.parse(text)
    log_p = np.asarray(jax.nn.log_softmax(4 * np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)))
    together = defenses.compose(worn)
    p = defenses.probabilities(together(log_p), together.after(Answers(6)))
    found = answer_format.recognize(p)
    again = defenses.compose(defenses.from_answers(found))
    np.testing.assert_allclose(again(log_p), together(log_p), atol=0.01 if found.least else 0)
    assert not answer_formats.lacking(found, found)


def test_a_threshold_is_not_that_of_votes():
    """Of votes and counts a zero is the same in target and shadows; what a threshold hides is not."""
    votes = np.random.default_rng(0).multinomial(20, np.ones(5) / 5, (3, 400)) / 20 * 0.999 + 0.0002
    p = np.random.default_rng(1).dirichlet(np.ones(5), 400)
    known = answer_formats.of_saved(np.where(p >= 0.2, p, 0), np.where(votes > 0.01, votes, 0))
    assert known.target.kind == "thresholded" and known.target.least > 0.19
    assert [one.name.partition("(")[0] for one in known.on_shadows] == ["at_least"]
    assert defenses.at_least(0.05).after(Answers(5, digits=1)) == Answers(5, digits=1)  # which hides more already
    assert defenses.at_least(0.2).after(Answers(5, digits=2)) == Answers(5, digits=2, least=0.2)


def test_nothing_is_lost_before_the_format_is_known():
    p = np.random.default_rng(0).dirichlet(np.full(5, 0.2), 500)
    for digits in (1, 2, 4, 6, None):
        told = p if digits is None else p.round(digits)
        kept = answer_format.exact(told)
        np.testing.assert_allclose(answer_format.from_exact(kept), told, rtol=3e-6)
        assert answer_format.recognize(answer_format.from_exact(kept)) == answer_format.recognize(told)
        answers = answer_format.recognize(told)
        np.testing.assert_allclose(
            answer_format.read(kept, answers), answer_format.log_probabilities(told, answers), atol=2e-6
        )


def test_files_of_answers_whose_zeros_were_floored_are_read(tmp_path):
    keys, p = [bytes(32), bytes([1] * 32)], np.array([[1, 0.0], [0.97, 0.03]])
    old = answer_store.AnswerStore(Answers(2, "probabilities", 2), tmp_path, "a")
    old.put(keys, answer_format.log_probabilities(p, old.answers))
    _, rows = old.path.read_bytes().split(b"\n", 1)
    first = b'{"format": "mia_jax answers 1", "name": "a", "classes": 2, "kind": "probabilities", "digits": 2}\n'
    old.path.write_bytes(first + rows)
    assert answer_store.stored_answers(tmp_path, "a") == Answers(2, "probabilities", 2)
    kept = answer_store.AnswerStore(Answers(2), tmp_path, "a")
    np.testing.assert_allclose(answer_format.from_exact(kept.everything()), p, atol=1e-6)


@pytest.mark.parametrize("digits", [None, 1])
def test_a_service_is_recognized_by_all_of_its_answers(digits):
    """Its first records are members, of which it is sure: it was taken for labels."""
    pytest.importorskip("httpx")
    from mia_jax.targets import remote

    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (200, 4)).astype(np.uint8)
    z = rng.normal(size=(200, 3)).astype(np.float32)
    z[:40] = 300 * np.eye(3)[np.arange(40) % 3]
    of = {row.tobytes(): log_p for row, log_p in zip(x, np.asarray(jax.nn.log_softmax(z)), strict=True)}

    def ask(x):
        return np.stack([of[row.tobytes()] for row in np.asarray(x, np.uint8)])

    target, want = Target(ask, Answers(3), traced=False), np.exp(ask(x).astype(np.float64))
    with server.serve(target, (4,), dtype=np.dtype(np.uint8), shown=server.Shown(digits=digits)) as url:
        place = url + server.paths()["vertex"]
        for order in (np.arange(200), np.arange(200)[::-1]):
            found = black_box.with_recognized_format(remote.connect(place, x[:40][order % 40], num_classes=3), x[order])
            assert found.answers.kind == "probabilities" and found.answers.digits == digits
            expected = answer_format.log_probabilities(want if digits is None else want.round(digits), found.answers)
            np.testing.assert_allclose(found.ask(x), expected, atol=1e-4)


def test_models_of_a_platform_share_what_a_zero_is():
    """Trees whose few leaves had digits by chance stood beside trees that had none: LiRA .539 instead of .570."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_breast_cancer
    from sklearn.tree import DecisionTreeClassifier

    x, y = load_breast_cancer(return_X_y=True)
    platform = platforms.sklearn(DecisionTreeClassifier(min_samples_leaf=4), 2)
    plan = splits.balanced(jax.random.key(0), len(y), 8)
    trees = [platform.fit(x[rows], y[rows], seed=k) for k, rows in enumerate(np.asarray(plan.train))]
    assert len({tree.answers for tree in trees}) == 1 and trees[0].answers.digits is None
    lowest = {np.asarray(tree.ask(x)).min() for tree in trees}
    assert lowest == {np.float32(np.log(0.5 / (len(y) // 2)))}
    one = platforms.platform("sklearn:sklearn.ensemble.RandomForestClassifier", 2).fit(x, y)
    assert one.answers.digits == 2  # a hundred votes


# --- shadows answer as the target does -------------------------------------------------------------------------------

WORLD = worlds.gaussian(41, 1200, 16, shift=3.0, spread=3.0, level=2.0)
SHADOWS = worlds.others(WORLD)
FULL = np.exp(worlds.answers(WORLD.phi, WORLD.y).astype(np.float64))


def best_two(p):
    shown = np.zeros(p.shape, bool)
    np.put_along_axis(shown, np.argsort(-p, axis=-1, kind="stable")[..., :2], True, axis=-1)
    return np.where(shown, p, 0.0)


def judged(attack, target, shadows, *, common=True, member=None):
    known = answer_formats.of_saved(target, shadows, common=common)
    trained = WORLD.member[SHADOWS] if member is None else member
    return infer.scored(attack, infer.Answered(WORLD.y, target, shadows), trained, known=known)


def area(scores):
    return metrics.auc(scores, WORLD.member[0]).value


@pytest.mark.parametrize(
    ("attack", "before", "after"), [("lira_fixed", 0.78, 0.90), ("lira", 0.78, 0.87), ("attack_r", 0.78, 0.84)]
)
def test_shadows_are_rounded_as_the_target_is(attack, before, after):
    target, shadows = FULL[0].round(2), FULL[SHADOWS]
    assert area(judged(attack, target, shadows, common=False).scores) < before
    given = dict(labels=WORLD.y, target=target, shadows=shadows, shadow_member=WORLD.member[SHADOWS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infer.AnswersWarning)
        scores = infer.infer(attack, **given)
    assert area(scores) > after
    both = judged(attack, target, shadows.round(2), common=False).scores
    assert abs(area(scores) - area(both)) < 0.002 and ((scores > 0) == (both > 0)).mean() > 0.98
    assert abs(area(judged(attack, FULL[0], shadows.round(2)).scores) - area(both)) < 0.002  # the coarser ones decide


def test_each_attack_takes_what_does_better_on_shadows_that_play():
    target, shadows = best_two(FULL[0]), FULL[SHADOWS]
    found = {name: judged(name, target, shadows) for name in ("lira", "attack_r", "modified_entropy")}
    answers = {name: one.choice.answer for name, one in found.items()}
    assert answers["lira"] == calibration.AS_TARGET and answers["attack_r"] == calibration.IN_FULL
    told = found["attack_r"].choice.json()
    assert told["measure"] == "auc" and told["in full"] > told["as the target"]
    right = (found["attack_r"].scores > 0) == WORLD.member[0]
    assert right.mean() > 0.86  # its boundary is that of shadows which tell the best two; their own gave .80


def test_full_answers_are_left_alone_to_the_last_bit():
    target, shadows = FULL[0].astype(np.float32), FULL[SHADOWS].astype(np.float32)
    one, other = (judged("lira", target, shadows, common=common) for common in (True, False))
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.choice.json() == {"answer": "as the target"}


# --- no boundary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [np.zeros(3, bool), np.ones(3, bool)])
def test_one_side_alone_has_no_boundary(member):
    assert np.isnan(best_threshold(np.arange(3.0), member))
    attack = ATTACKS["loss"](4)
    seen = {"log_p_y": np.array([[-1.0, -2, -3]]), "y": np.zeros((1, 3), int)}
    own = {"log_p_y": np.array([-0.5, -4.0]), "y": np.zeros(2, int)}
    np.testing.assert_array_equal(attack.score(attack.fit(None, seen, member[None]), own), [-0.5, -4.0])


def test_a_class_without_members_among_the_shadows_rows_takes_the_boundary_of_all():
    attack = ATTACKS["modified_entropy"](2)
    value = np.array([[1.0, 2.0, 9.0, 8.0, 7.0]])
    seen = {"modified_entropy": value, "y": np.array([[0, 0, 0, 0, 1]])}
    state = attack.fit(None, seen, np.array([[True, True, False, False, False]]))
    np.testing.assert_array_equal(state.threshold, [-5.0, -4.5])  # between -2 and -8; of all, between -2 and -7


def test_what_depends_on_a_boundary_has_no_value_without_one():
    nobody = np.zeros((len(SHADOWS), len(WORLD.y)), bool)
    one = judged("rmia_offline", FULL[0], FULL[SHADOWS], member=nobody)
    assert one.no_boundary.startswith("no boundary: the shadow models trained on all of the records in question")
    np.testing.assert_array_equal(one.scores, judged("rmia_offline", FULL[0], FULL[SHADOWS], member=nobody).scores)
    block = results.attack(one.scores, WORLD.member[0], WORLD.y, 4, "RMIA", no_boundary=one.no_boundary)
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "median_precision"):
        assert block[name] == {"value": None, "reason": one.no_boundary}
        (verdict,) = gate.judge(gate.parse(f"rmia_offline:{name}>0.6"), {"attacks": {"rmia_offline": block}})
        assert verdict.exceeded and verdict.reason == one.no_boundary
    assert block["ppv_at_prior"]["0.1"]["value"] is None and block["per_class"][0]["recall"]["value"] is None
    assert block["auc"]["value"] > 0.8


# --- a service -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """A network that has learned half of the records by heart, and the records."""
    rng = np.random.default_rng(0)
    x, y = (rng.random((420, 24)) < 0.5).astype(np.uint8), rng.integers(0, 4, 420).astype(np.int32)
    member = np.isin(np.arange(420), rng.permutation(420)[:100])
    platform = platforms.network(networks.mlp(4, hidden=(32,)), 4, num_epochs=60)
    target = platform.fit(x[member], y[member], seed=3)
    path = tmp_path_factory.mktemp("service") / "mine.npz"
    np.savez(path, x=x, y=y, member=member)
    return target, path


@pytest.fixture(scope="module")
def audited(overfitted, tmp_path_factory):
    """The audit of the network behind a URL: what is shown -> what results.json holds."""
    pytest.importorskip("httpx")
    target, path = overfitted
    done = {}

    def audit(**shown):
        key = tuple(shown.items())
        if key not in done:
            config = DeployedConfig(
                data=str(path),
                workdir=str(tmp_path_factory.mktemp("run")),
                num_shadows=4,
                num_epochs=60,
                hidden=32,
                attacks="modified_entropy,lira_offline,rmia_offline",
            )
            with server.serve(target, (24,), dtype=np.dtype(np.uint8), shown=server.Shown(**shown)) as url:
                place = url + server.paths()["vertex"]
                found = audits.run(DeployedConfig(**(vars(config) | {"target": place})))
            done[key] = found
        return done[key]

    return audit


@pytest.mark.integration
def test_offline_attacks_find_their_boundary_on_the_shadows_own_records(audited):
    found = audited()["attacks"]
    for name in ("lira_offline", "rmia_offline"):
        block = found[name]
        assert block["auc"]["value"] > 0.58
        assert 0.15 < block["recall"]["value"] < 0.95 and block["balanced_accuracy"]["value"] > 0.53  # was 0 and .5


@pytest.mark.slow
def test_a_service_that_rounds_is_met_by_shadows_that_round(audited):
    full, rounded = audited(), audited(digits=1)
    assert rounded["target"]["answers"]["digits"] == 1 and full["target"]["answers"]["digits"] is None
    assert rounded["shadows"]["answers"] == {"defences": ["round_to(1)"], "from": "the target's answers"}
    assert full["shadows"]["answers"]["defences"] == []
    for name, block in rounded["attacks"].items():
        assert block["shadows"]["answer"] in ("as the target", "in full")
        assert set(block["shadows"]) == {"answer", "measure", "as the target", "in full"}
        assert block["balanced_accuracy"]["value"] > full["attacks"][name]["balanced_accuracy"]["value"] - 0.08
    text = report.terminal_table(rounded)
    assert "answered in the same format (round_to(1)) whenever they played" in " ".join(text.split())
    assert "defences" in rounded["shadows"]["answers"] and "same format" not in report.terminal_table(full)
