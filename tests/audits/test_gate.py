"""The release gate: exceeded or not as the numbers say, closed where they say nothing."""

import re

import numpy as np
import pytest

from mia_jax import attacks, audits
from mia_jax.audits import gate, release
from mia_jax.statistics import matched_pairs, metrics
from mia_jax.types import InputError


def block(n=4000, lean=1.0, seed=0, call_nobody=False):
    """An attack's block as ``metrics.evaluate`` makes it, of simulated scores."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    score = rng.normal(size=n) + lean * (member - 0.5) - (100 if call_nobody else 0)
    return metrics.evaluate(score, member, np.zeros(n, int), 1)


def results(**attacks):
    return {"attacks": attacks}


def exceeded(text, found):
    return [verdict.exceeded for verdict in gate.judge(gate.parse(text), found)]


def test_every_measure_of_a_report_can_be_a_condition():
    found = results(lira=block() | {"epsilon": {"low": 1.5}})
    told = {
        **{name: found["attacks"]["lira"][name] for name in ("auc", "accuracy", "balanced_accuracy", "precision")},
        "recall": found["attacks"]["lira"]["recall"],
        "epsilon": {"low": 1.5},
        "tpr@0.01": found["attacks"]["lira"]["tpr_at_fpr"]["0.01"],
        "ppv@0.1": found["attacks"]["lira"]["ppv_at_prior"]["0.1"],
        "median_precision": {"value": found["attacks"]["lira"]["median_precision"]},
    }
    for name, measure in told.items():
        value = measure["low"] if name == "epsilon" else measure["value"]
        assert exceeded(f"{name}>{value - 1e-6:.9f}, {name}>{value + 1e-6:.9f}", found) == [True, False], name
        if "high" in measure:
            assert exceeded(f"{name}.low>{value}, {name}.high>{value}", found) == [False, True], name


def test_a_bound_that_is_reached_is_not_passed():
    found = results(lira={"auc": {"value": 0.75}})
    assert exceeded("auc>0.75,auc>=0.75", found) == [False, True]


def test_without_a_name_the_strongest_attack_decides_and_with_one_it_does():
    found = results(lira={"auc": {"value": 0.7}}, loss={"auc": {"value": 0.55}})
    with pytest.raises(gate.GateExceeded, match=r"^the gate is exceeded; auc>0\.6: lira 0\.7$") as error:
        gate.enforce(gate.parse("auc>0.6"), found)
    assert error.value.exit_code == 3
    verdicts = gate.enforce(gate.parse("loss:auc>0.6, lira:auc>0.8"), found)
    assert [(v.attack, v.value) for v in verdicts] == [("loss", 0.55), ("lira", 0.7)]


def test_all_that_is_exceeded_is_told_at_once():
    found = results(lira=block(lean=3.0), loss=block(lean=2.0))
    with pytest.raises(gate.GateExceeded) as error:
        gate.enforce(gate.parse("auc>0.6,accuracy>0.99,tpr@0.1>0.2"), found)
    text = str(error.value)
    assert text.count("lira") == text.count("loss") == 2 and "accuracy" not in text and "\n" not in text


def test_what_cannot_be_told_counts_as_exceeded():
    few = results(lira=block(n=200))
    with pytest.raises(gate.GateExceeded, match=r"^the gate cannot tell; .*lira cannot tell .*not resolvable: 100"):
        gate.enforce(gate.parse("tpr@0.01>0.5"), few)
    with pytest.raises(gate.GateUndecided, match=r"0\.5: lira, loss cannot tell \(not resolvable: [^()]*\)$"):
        gate.enforce(gate.parse("tpr@0.01>0.5"), results(lira=block(n=200), loss=block(n=200)))
    assert exceeded("tpr@0.1>0.99", few) == [False]
    for text, match in (("rmia:auc>0.9", "did not run"), ("epsilon>3", "no attack has"), ("lira:epsilon>3", "no such")):
        with pytest.raises(gate.GateExceeded, match=match):
            gate.enforce(gate.parse(text), few)
    assert exceeded("auc>0.5", results(lira={"auc": {"value": float("nan")}})) == [True]


@pytest.mark.parametrize(
    ("judged", "condition", "said"),
    [
        (200, "tpr@0.01>0.5", "it takes 1,000 non-members, and from 100 tpr@0.1 can be told"),
        (2400, "tpr@0.001>0.5", "it takes 10,000 non-members, and from 1,200 tpr@0.01 can be told"),
        (100, "tpr@0.1>0.5", "it takes 100 non-members, and from 50 auc can be told, or auc.low"),
    ],
)
def test_a_gate_on_small_data_says_how_much_would_do(judged, condition, said):
    found = results(lira=block(n=judged))
    with pytest.raises(gate.GateUndecided) as error:
        gate.enforce(gate.parse(condition), found)
    assert said in str(error.value) and error.value.exit_code == 6
    enough = results(lira=block(n=2 * int(said.split()[2].replace(",", ""))))
    assert gate.judge(gate.parse(condition), enough)[0].value is not None
    instead = re.search(r" (tpr@[\d.]+|auc) can be told", said).group(1)
    assert gate.judge(gate.parse(f"{instead}>0.99"), found)[0].value is not None


def test_what_is_known_to_be_exceeded_outweighs_what_cannot_be_told():
    few = results(lira=block(n=200, lean=3.0))
    with pytest.raises(gate.GateExceeded) as error:
        gate.enforce(gate.parse("tpr@0.01>0.5, auc>0.6"), few)
    assert type(error.value) is gate.GateExceeded and error.value.exit_code == 3
    assert "the gate is exceeded; auc>0.6: lira" in str(error.value) and "cannot tell" in str(error.value)


def test_an_epsilon_is_what_is_proven_and_what_could_not_be_proven_is_not_denied():
    rng = np.random.default_rng(0)
    member = rng.permutation(2000) < 1000
    leak, calm = (
        matched_pairs.from_scores(rng.normal(size=2000) + lean * member, member, delta=1e-5) for lean in (4, 0)
    )
    found = results(lira={"epsilon": leak}, loss={"epsilon": calm})
    assert 1 < leak["low"] < leak["provable"] < 2.5 and calm["low"] == 0
    assert exceeded("epsilon>1", found) == exceeded("epsilon.low>1", found) == [True, False]
    with pytest.raises(
        gate.GateExceeded, match=r": lira, loss cannot tell \(an audit .* proves 2\.\d+ at most; [^()]*\)$"
    ):
        gate.enforce(gate.parse("epsilon>2.5"), found)
    assert exceeded("lira:epsilon.high>1, lira:epsilon>0", found) == [True, True]
    few = matched_pairs.from_scores(np.arange(4.0), np.arange(4) < 2, delta=1e-5)
    with pytest.raises(
        gate.GateExceeded, match=r"gap cannot tell .*2 pairs of a member and a non-member prove nothing"
    ):
        gate.enforce(gate.parse("epsilon>1"), results(gap={"epsilon": few}))


def test_the_largest_epsilon_of_an_audit_is_corrected_for_the_number_of_attacks():
    """Of each attack by itself the bound is at 95 %; of the largest, at 1 - 5 % / attacks each."""
    leak = {"low": 1.2, "provable": 2.0, "low_joint": 0.9, "provable_joint": 1.5}
    found = results(lira={"epsilon": leak}, loss={"epsilon": leak | {"low": 0.3, "low_joint": 0.0}})
    assert exceeded("epsilon>1", found) == exceeded("epsilon.low>1", found) == [False, False]
    assert exceeded("epsilon>0.8", found) == [True, False] and exceeded("lira:epsilon>1", found) == [True]
    assert exceeded("epsilon>1.7", found) == [True, True]  # beyond what all together could prove
    assert exceeded("lira:epsilon>1.7", found) == [False]
    assert exceeded("epsilon>1", results(canaries={"epsilon": {"low": 1.2, "provable": 2.0}})) == [True]


def test_a_condition_on_accuracy_says_what_guessing_gives():
    """Eight of ten records are members: guessing is right on .8, and an attack that tells nothing passes for .8."""
    rng = np.random.default_rng(1)
    member = rng.permutation(2000) < 1600
    score = rng.normal(size=2000) + 3
    found = results(loss=metrics.evaluate(score, member, np.zeros(2000, int), 1))
    with pytest.raises(
        gate.GateExceeded, match=r"loss 0\.7\d+ \(guessing has 0\.8, as 1,600 of 2,000 are members; balanced_"
    ):
        gate.enforce(gate.parse("accuracy>0.6"), found)
    verdicts = gate.enforce(gate.parse("accuracy>0.9,precision>0.9,balanced_accuracy>0.6,auc>0.6"), found)
    notes = gate.notes(verdicts)
    assert [note.split(":")[0] for note in notes] == ["accuracy>0.9", "precision>0.9"]
    assert all("guessing has 0.8" in note for note in notes)
    assert not gate.notes(gate.enforce(gate.parse("accuracy>0.9"), results(lira=block())))


def test_an_attack_that_calls_nobody_a_member_has_no_precision_to_exceed():
    nobody = results(lira=block(call_nobody=True))
    assert nobody["attacks"]["lira"]["precision"]["value"] is None
    assert exceeded("precision>0.5,ppv@0.5>0.5,median_precision>0.5,recall>0.1", nobody) == [False] * 4
    assert exceeded("auc>0.55", nobody) == [True]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the gate is empty"),
        ("  ", "the gate is empty"),
        ("auc>60", r"auc is a number from 0 to 1; 60 % is 0\.6"),
        ("tpr@0.1>5", "tpr is a number from 0 to 1"),
        ("auc>1e400", "auc is a number from 0 to 1"),
        ("auc>-0.5", "auc is a number from 0 to 1"),
        ("recall>=0", "is always met: .*write >0"),
        ("precision>1", "can never be met: .*write >=1"),
        ("lira:auc.low>1", "can never be met"),
        ("ppv@0.1>=1.01", "ppv is a number from 0 to 1"),
        ("epsilon>1e400", "epsilon is any number from 0 up"),
        ("epsilon>-1", "epsilon is any number from 0 up"),
        ("epsilon>=0", "is always met"),
        ("auc", "is no condition"),
        ("auc>much", "is no condition"),
        ("auc<0.5", r"is no condition. A gate states what fails the audit \(so > or >=, and never <\), as in tpr@"),
        ("auc>0.5,", "is no condition"),
        ("auc>0.5 and accuracy>0.5", "is no condition"),
        ("area>0.5", "there are auc, accuracy, .*tpr@"),
        ("auc@0.1>0.5", "there are auc"),
        ("tpr>0.5", "tpr@ one of 0.1, 0.01, 0.001"),
        ("tpr@0.02>0.5", "tpr@ one of 0.1, 0.01, 0.001"),
        ("tpr@1>0.05", "tpr@ one of 0.1, 0.01, 0.001, 0.0001; 1 % is 0.01"),
        ("ppv@0.3>0.5", "ppv@ one of 0.5, 0.1, 0.01"),
        ("rmia:auc>0.5", "asks about rmia, and the attacks of this audit are lira, loss"),
    ],
)
def test_what_is_no_condition_is_refused_before_any_work(text, match):
    with pytest.raises(InputError, match=match) as error:
        gate.parse(text, attacks=["lira", "loss"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "few"),
    [
        (audits.DeployedConfig(predictions="p.npz", attacks="loss,lira"), "lira"),  # ran, and was undecided at the end
        (audits.BalancedConfig(attacks="all"), "lira"),  # which has no cmia, as a policy of it said
        (audits.CanaryConfig(), "canaries"),
        (audits.Config(attacks="shokri"), "shokri"),
    ],
)
def test_gates_and_policies_name_attacks_that_run(config, few):
    names = release.attack_names(config)
    assert gate.parse(f"{few}:auc>0.5", attacks=names)[0].attack == few
    with pytest.raises(InputError, match="asks about cmia, and the attacks of this audit are"):
        gate.parse("cmia:auc>0.5", attacks=names)


def test_numbers_may_be_written_in_any_way():
    (condition,) = gate.parse("lira:tpr@1e-2.low >= 5e-2")
    assert condition == gate.Condition("lira:tpr@1e-2.low >= 5e-2", "lira", "tpr", 0.01, "low", False, 0.05)
    assert gate.parse("tpr@.01>.05")[0].at == 0.01
    (condition,) = gate.parse(" LiRA : TPR @ 0.01 > 0.05 ", attacks=["lira", "loss"])
    assert condition[1:] == ("lira", "tpr", 0.01, "value", True, 0.05)


def test_attacks_may_be_written_in_capitals():
    assert attacks.named(" LOSS, LiRA_offline") == ["loss", "lira_offline"]
