"""What ``mia.infer`` and files of predictions say of arrays that do not fit, and that the move they give works."""

import ml_dtypes
import numpy as np
import pytest

import mia_jax as mia
from mia_jax.audits.deployed import records
from mia_jax.targets.answer_format import WrongAnswer
from mia_jax.types import InputError

N, S, C = 60, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
TRAINED = mia.plan(num_records=N, num_models=S).member
LOGITS = RNG.normal(size=(S + 1, N, C)) + 2 * np.eye(C)[Y]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
MEMBER = RNG.random(N) < 0.5
SIGNAL = np.log(P[:, np.arange(N), Y])
ANSWERS = dict(labels=Y, target=P[0], shadows=P[1:], shadow_member=TRAINED)
NUMBERS = dict(signal=SIGNAL[0], shadow_signal=SIGNAL[1:], shadow_member=TRAINED)


def moved(told, after, given):
    """The value of the expression that stands after some words of a message."""
    line = str(told.value).partition(after)[2]
    return eval(line, {"np": np, "n": N, "ml_dtypes": ml_dtypes, **given})


@pytest.mark.parametrize("given", [ANSWERS, NUMBERS], ids=["answers", "numbers"])
@pytest.mark.parametrize("ragged", [False, True])
def test_shadow_member_as_the_numbers_of_records(given, ragged):
    rows = [np.flatnonzero(own)[: 29 if ragged and k == 2 else 30] for k, own in enumerate(TRAINED)]
    rows = rows if ragged else np.stack(rows)
    with pytest.raises(InputError, match=r"np.isin\(np.arange\(n\), rows\) for rows in shadow_member") as told:
        mia.infer("lira", **given | {"shadow_member": rows})
    made = moved(told, "give bools [S, n]," if ragged else "write ", {"shadow_member": rows})
    expected = TRAINED.copy()
    expected[2, np.flatnonzero(TRAINED[2])[-1]] = not ragged
    np.testing.assert_array_equal(made, expected)


def test_words_in_shadow_member_of_numbers():
    words = np.where(TRAINED, "in", "out")
    with pytest.raises(InputError, match=r'where "in" stands for true, give shadow_member == "in"') as told:
        mia.infer("lira", **NUMBERS | {"shadow_member": words})
    np.testing.assert_array_equal(moved(told, "for true, give ", {"shadow_member": words}), TRAINED)


@pytest.mark.parametrize(
    ("name", "values", "right"),
    [("signal", SIGNAL[0][:, None], SIGNAL[0]), ("shadow_signal", SIGNAL[1:].T, SIGNAL[1:])],
)
def test_signals_of_another_shape(name, values, right):
    with pytest.raises(InputError, match=f"{name} is float64 .*give {name}") as told:
        mia.infer("lira", **NUMBERS | {name: values})
    np.testing.assert_array_equal(moved(told, "give ", {name: values}), right)


@pytest.mark.parametrize("entrance", ["infer", "predictions", "audit"])
def test_bfloat16_that_became_bytes(tmp_path, entrance):
    """NumPy's files lose the type: |V2."""
    np.save(tmp_path / "p.npy", P.astype(ml_dtypes.bfloat16))
    lost = np.load(tmp_path / "p.npy")
    assert lost.dtype.kind == "V"
    words = r"as bfloat16 becomes in a file; needed: numbers: write (target|p)\.astype\(np\.float32\), or give"
    with pytest.raises(InputError, match=words) as told:
        match entrance:
            case "infer":
                mia.infer("lira", **ANSWERS | {"target": lost[0], "shadows": lost[1:]})
            case "predictions":
                np.savez(tmp_path / "preds.npz", **ANSWERS | {"target": lost[0], "shadows": lost[1:]})
                records.load_predictions(tmp_path / "preds.npz")
            case "audit":
                mia.audit(lost[0], np.zeros((N, 1)), Y, MEMBER, attacks="loss")
    line = str(told.value).rpartition("or give ")[2]
    target, shadows = (eval(line, {"ml_dtypes": ml_dtypes, "p": p, "target": p}) for p in (lost[0], lost[1:]))
    kept = {name: ANSWERS[name].astype(ml_dtypes.bfloat16) for name in ("target", "shadows")}
    right = mia.infer("lira", **ANSWERS | kept)
    np.testing.assert_array_equal(mia.infer("lira", **ANSWERS | {"target": target, "shadows": shadows}), right)


def test_member_of_a_file_as_the_numbers_of_records(tmp_path):
    rows = np.flatnonzero(MEMBER)
    np.savez(tmp_path / "preds.npz", **ANSWERS, member=rows)
    with pytest.raises(InputError, match=r"np.isin\(np.arange\(n\), member\)") as told:
        records.load_predictions(tmp_path / "preds.npz")
    np.savez(tmp_path / "preds.npz", **ANSWERS, member=moved(told, "write ", {"member": rows}))
    np.testing.assert_array_equal(records.load_predictions(tmp_path / "preds.npz").member, MEMBER)


def test_a_row_of_a_file_that_is_not_finite_is_to_be_left_out(tmp_path):
    for arrays in (ANSWERS, {name: ANSWERS[name] for name in ("labels", "target")}):
        wrong = np.where(np.arange(N)[:, None] == 7, np.nan, P[0])
        np.savez(tmp_path / "preds.npz", **arrays | {"target": wrong})
        with pytest.raises(
            InputError, match=r"target, record 7: .*; leave that record out of all arrays, or ask again"
        ):
            records.load_predictions(tmp_path / "preds.npz", alone=len(arrays) == 2)


@pytest.mark.parametrize("of", ["target", "shadows"])
def test_rows_that_are_no_answer_say_what_to_do(of):
    wrong = P.copy()
    k = 0 if of == "target" else 3
    wrong[k, 7] = np.nan
    with pytest.raises(WrongAnswer, match="leave that record out of all arrays, or ask again"):
        mia.infer("loss", **ANSWERS | {"target": wrong[0], "shadows": wrong[1:]})
    wrong[k, 7] = 2 * P[k, 7]
    with pytest.raises(WrongAnswer, match=rf"sum to 2.*; leave that record out of all arrays, or save {of} / ") as told:
        mia.infer("loss", **ANSWERS | {"target": wrong[0], "shadows": wrong[1:]})
    given = {"target": wrong[0], "shadows": wrong[1:]}
    given[of] = moved(told, "arrays, or save ", given)
    right = mia.infer("loss", **ANSWERS)
    np.testing.assert_allclose(mia.infer("loss", **ANSWERS | given), right, atol=1e-5)
