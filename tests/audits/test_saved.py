"""Files of saved answers without shadows, and of one number per record: audited as the same things in this process."""

import attack_worlds as worlds
import numpy as np
import pytest

import mia_jax as mia
from mia_jax.audits import gate
from mia_jax.audits.deployed import saved
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.types import InputError

pytestmark = pytest.mark.usefixtures("no_pages")

N = 240
WORLD = worlds.gaussian(41, N, 8, shift=3.0)
SHADOWS = worlds.others(WORLD)
P = np.exp(worlds.answers(WORLD.phi, WORLD.y))
MEMBER, TRAINED = WORLD.member[0], WORLD.member[SHADOWS]
NUMBERS = np.log(P[:, np.arange(N), WORLD.y].astype(np.float64))
SOME = "loss,rmia,lira,calibrated_loss,base,bavaria"


def run(folder, attacks="all", name="w", **arrays):
    np.savez(folder / "preds.npz", **arrays)
    config = mia.DeployedConfig(predictions=str(folder / "preds.npz"), attacks=attacks, workdir=str(folder / name))
    return mia.run(config)


def numbers(**changed):
    given = dict(signal=NUMBERS[0], shadow_signal=NUMBERS[SHADOWS], shadow_member=TRAINED, member=MEMBER) | changed
    return {name: array for name, array in given.items() if array is not None}


# --- a target alone --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Members and non-members differ")  # of 240 numbers in order, by chance
@pytest.mark.parametrize("known", [True, False])
def test_a_file_without_shadows_is_audited_as_in_one_call(tmp_path, known):
    member = {"member": MEMBER} if known else {}
    found = run(tmp_path, labels=WORLD.y, target=P[0], **member)
    beside = mia.audit(P[0], np.arange(N)[:, None], WORLD.y, member.get("member"), seed=0)
    assert list(found["attacks"]) == list(beside.results["attacks"]) and "loss" in found["attacks"]
    scores = dict(np.load(tmp_path / "w" / "scores.npz"))
    for name in found["attacks"]:
        np.testing.assert_array_equal(scores[f"score_{name}"], beside[name].scores)
    assert found["target"]["kind"] == "saved predictions" and found["shadows"]["count"] == 0
    assert found["dataset"]["features"] == 0 and found["dataset"]["title"] == "preds.npz"
    assert found["config"]["predictions"].endswith("preds.npz") and "name" not in found["config"]
    notes = " ".join(found["shadows"]["notes"])
    assert "add shadows [S, n, c] and shadow_member [S, n] to the file" in notes
    assert "fit" not in notes and "copies of" not in notes.replace("in a copy of them", "")
    assert "name" in beside.results["config"] and "give shadows=fit" in " ".join(beside.results["shadows"]["notes"])


def test_the_same_workdir_takes_a_file_that_has_changed(tmp_path):
    first = run(tmp_path, "loss", labels=WORLD.y, target=P[0], member=MEMBER)
    second = run(tmp_path, "loss", labels=WORLD.y, target=P[1], member=WORLD.member[1])
    assert first["dataset"]["digest"] != second["dataset"]["digest"]
    assert first["attacks"]["loss"]["auc"] != second["attacks"]["loss"]["auc"]


def test_an_attack_that_needs_shadows_says_how_the_file_has_some(tmp_path):
    with pytest.raises(InputError, match=r"lira needs shadow models: add shadows .* to the file; without shadows"):
        run(tmp_path, "lira", labels=WORLD.y, target=P[0], member=MEMBER)


def test_half_of_the_shadows_arrays_is_refused(tmp_path):
    with pytest.raises(InputError, match="it has no array 'shadow_member'"):
        run(tmp_path, labels=WORLD.y, target=P[0], shadows=P[SHADOWS])


# --- one number per record -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME.split(","))
def test_numbers_are_scored_as_the_log_probabilities_that_they_are(name):
    by_number = mia.infer(name, signal=NUMBERS[0], shadow_signal=NUMBERS[SHADOWS], shadow_member=TRAINED)
    assert by_number.dtype == np.float64 and by_number.shape == (N,)
    assert mia.auc(by_number, MEMBER).value > 0.75
    if name in ("loss", "rmia", "calibrated_loss"):  # which read just that
        by_answer = mia.infer(name, labels=WORLD.y, target=P[0], shadows=P[SHADOWS], shadow_member=TRAINED)
        near = 1e-3 if name != "rmia" else 0.02  # it exponentiates, and a number's unit is not known to be nats
        assert mia.auc(by_number, MEMBER).value == pytest.approx(mia.auc(by_answer, MEMBER).value, abs=near)


def test_a_file_of_numbers_has_the_scores_of_infer(tmp_path):
    found = run(tmp_path, SOME, **numbers())
    scores = dict(np.load(tmp_path / "w" / "scores.npz"))
    given = numbers(member=None)
    for name in ("loss", "rmia", "lira"):
        np.testing.assert_array_equal(scores[f"score_{name}"], mia.infer(name, **given).astype(np.float32))
        assert found["attacks"][name]["auc"]["value"] > 0.75
    assert found["target"]["signal"] == "the saved signal" and found["target"]["kind"] == "saved predictions"
    assert found["shadows"]["count"] == len(SHADOWS) and "num_shadows" not in found["config"]
    np.testing.assert_allclose(scores["signal"], NUMBERS[0], rtol=1e-6)


def test_infer_warns_of_numbers_as_it_does_of_answers():
    with pytest.warns(AnswersWarning) as told:
        mia.infer("lira", **numbers(shadow_member=np.concatenate([~MEMBER[None], TRAINED[1:]])))
    assert any("trained on what the target did not" in str(warning.message) for warning in told)


def test_numbers_that_do_not_belong_together_are_doubted_everywhere(tmp_path):
    inverted = numbers(shadow_member=~TRAINED)
    found = run(tmp_path, "loss", **inverted)
    assert "shadow_member seems to be inverted" in found["doubts"][0]
    assert gate.judge(gate.parse("loss:auc>0.99"), found)[0].exceeded
    assert not run(tmp_path, "loss", name="right", **numbers())["doubts"]
    with pytest.warns(AnswersWarning, match="shadow_member seems to be inverted"):
        mia.infer("loss", **inverted)


def test_what_is_noted_of_numbers_is_said_by_every_entrance(tmp_path):
    each = np.median(NUMBERS[[0, *SHADOWS]], axis=1, keepdims=True)
    cut = np.maximum(NUMBERS[[0, *SHADOWS]], each)
    given = numbers(signal=cut[0], shadow_signal=cut[1:])
    with pytest.warns(AnswersWarning, match="Each model's smallest number .* 50% .* Save them uncut"):
        mia.infer("loss", **given)
    (note,) = [note for note in run(tmp_path, "loss", **given)["shadows"]["notes"] if "Save them uncut" in note]
    assert note.startswith("Each model's smallest number")


BAD = {
    "classes": (dict(attack="entropy"), "entropy needs classes and their probabilities"),
    "an attack": (dict(attack=mia.attack("loss", 2)), "an attack is given by its name"),
    "alone": (dict(shadow_signal=None), r"signal \[n\] and shadow_signal \[S, n\] go together"),
    "labels": (dict(labels=WORLD.y), "labels has no use beside signal"),
    "shape": (dict(signal=P[0]), r"signal is float32 \(240, 4\); needed: \[n\], a number for each record"),
    "rows": (dict(shadow_signal=NUMBERS[SHADOWS][:, 1:]), r"shadow_signal is float64 .*239\); needed: \[S, 240\]"),
    "text": (dict(signal=WORLD.y.astype(str)), "signal is <U"),
    "not finite": (dict(signal=np.where(np.arange(N) == 7, np.nan, NUMBERS[0])), r"signal is not finite at \[7\]"),
    "not finite, many": (dict(signal=np.where(np.arange(N) > 236, np.inf, NUMBERS[0])), r"at \[237\] and at 2 more: "),
    "who": (dict(shadow_member=TRAINED[:, :9]), r"shadow_member is bool \[6, 240\]"),
    "member": (dict(member=MEMBER[:9]), r"member is bool \[240\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_numbers_are_one_line(case):
    changed, message = BAD[case]
    given = {"attack": "loss", **numbers(), **changed}
    with pytest.raises(InputError, match=message) as error:
        mia.infer(given.pop("attack"), **given)
    assert "\n" not in str(error.value)


def test_infer_says_which_of_both_it_takes():
    with pytest.raises(InputError, match=r"labels, target and shadows: .*; or signal and shadow_signal"):
        mia.infer("loss", shadow_member=TRAINED)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(target=P[0]), r"preds.npz holds shadow_signal, signal, target: give probabilities, or a number"),
        (dict(shadow_member=None), "it has no array 'shadow_member'"),
        (
            dict(signal=NUMBERS[0][:5]),
            r"preds.npz cannot be used: shadow_signal is float64 \(6, 240\); needed: \[S, 5\]",
        ),
        (dict(member=MEMBER | True), "member is True everywhere, and an evaluation needs both"),
    ],
)
def test_bad_files_of_numbers_are_one_line(tmp_path, changed, message):
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path, **numbers(**changed))
    assert "\n" not in str(error.value)


def test_what_is_no_archive_is_left_to_the_reader(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    assert saved.kind(tmp_path / "text.npz") == saved.kind(tmp_path / "none.npz") == saved.kind(tmp_path) == "answers"
