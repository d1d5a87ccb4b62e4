"""What users bring: their records, or their predictions; read as they are meant, or refused in one line."""

import numpy as np
import pytest
from archives import bits, cycle, npz

from mia_jax import data
from mia_jax.audits.deployed import records
from mia_jax.audits.deployed.infer import infer
from mia_jax.types import Field, InputError, Records, Schema

N, C, S = 12, 3, 4
X, Y = bits(N, 5), cycle(N, C)
MEMBER = np.arange(N) < 5


def written(tmp_path, **arrays):
    (tmp_path / "mine.npz").write_bytes(npz(**arrays))
    return tmp_path / "mine.npz"


def answers(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(C), shape)


PREDICTIONS = dict(
    labels=Y,
    target=answers(N),
    shadows=answers(S, N, seed=1),
    shadow_member=np.random.default_rng(2).integers(0, 2, (S, N)).astype(bool),
)


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [MEMBER, MEMBER.astype(int), MEMBER.astype(float)])
def test_records_and_their_membership(tmp_path, member):
    found = records.load_question(str(written(tmp_path, x=X.astype(float), y=Y.astype(np.int64), member=member)))
    np.testing.assert_array_equal(found.records.x, X)
    np.testing.assert_array_equal(found.records.y, Y)
    np.testing.assert_array_equal(found.member, MEMBER)
    assert (found.records.x.dtype, found.records.y.dtype, found.member.dtype) == (np.uint8, np.int32, bool)
    assert (found.schema.name, found.schema.source, found.schema.num_classes) == ("mine", "local", C)
    assert found.schema.digest == data.load(tmp_path / "mine.npz")[1].digest


def test_membership_may_be_unknown_and_classes_empty(tmp_path):
    found = records.load_question(written(tmp_path, x=X, y=Y * 3))
    assert found.member is None and found.schema.num_classes == 7
    np.testing.assert_array_equal(found.records.y, Y * 3)


def test_a_schema_is_kept(tmp_path):
    schema = Schema("census", "local", "", 4, (5,), (Field("a", "numeric", 0, 2), Field("b", "binary", 2, 5)))
    data.save(tmp_path / "s.npz", Records(X, Y), schema)
    with np.load(tmp_path / "s.npz") as held:
        path = written(tmp_path, member=MEMBER, **held)
    found = records.load_question(path)
    assert found.schema.fields == schema.fields and found.schema.num_classes == 4 and found.member.sum() == 5


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (dict(x=X), "no array 'y', only 'x'; write x, y with np.savez"),
        (dict(x=X, y=Y, member=MEMBER[:-1]), r"member has shape \(11,\); needed: \[12\]"),
        (dict(x=X, y=Y, member=MEMBER * 2), "something else than true and false"),
        (dict(x=X, y=Y, member=MEMBER.astype(str)), "something else than true and false"),
        (dict(x=X, y=Y, member=MEMBER & False), "false everywhere"),
        (dict(x=X, y=Y, member=MEMBER | True), "true everywhere"),
        (dict(x=X, y=Y[:-1]), r"a label for each record, y \[12\]"),
        (dict(x=X, y=np.int32(1)), r"a label for each record, y \[12\]"),
        (dict(x=X, y=Y - 1), "label -1, which is negative"),
        (dict(x=X, y=Y + Y.astype(np.int64) * 10**12), "outside of 0..2147483646"),
        (dict(x=X, y=Y + 0.5), "not whole numbers"),
        (dict(x=X, y=Y * 0), "single class"),
        (dict(x=X, y=Y.astype(str)), "integers"),
        (dict(x=np.where(X == 1, np.nan, 0), y=Y), "feature that is nan"),
        (dict(x=X[:, 0], y=Y), "shape"),
        (dict(x=X.astype(object), y=Y), "holds Python objects"),
    ],
)
def test_records_that_are_none_are_refused(tmp_path, arrays, reason):
    with pytest.raises(InputError, match=reason) as error:
        records.load_question(written(tmp_path, **arrays))
    assert "mine.npz" in str(error.value) and "\n" not in str(error.value)


# --- predictions -----------------------------------------------------------------------------------------------------


def test_predictions_are_what_infer_takes(tmp_path):
    found = records.load_predictions(written(tmp_path, **PREDICTIONS, member=MEMBER))
    for name, value in PREDICTIONS.items():
        np.testing.assert_array_equal(getattr(found, name), value)
    np.testing.assert_array_equal(found.member, MEMBER)
    assert records.load_predictions(written(tmp_path, **PREDICTIONS)).member is None
    assert (found.labels.dtype, found.shadow_member.dtype) == (np.int32, bool)

    scores = infer("calibrated_loss", **{k: v for k, v in found._asdict().items() if k not in ("member", "numbers")})
    assert scores.shape == (N,) and np.isfinite(scores).all()


def spoiled(name, where, value):
    array = np.array(PREDICTIONS[name])
    array[where] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(labels=None), "no array 'labels'"),
        (dict(shadow_member=None), "no array 'shadow_member'"),
        (dict(labels=Y[:-1]), r"labels has shape \(11,\)"),
        (dict(target=Y.astype(float)), r"or save the target's probabilities, \[12, 3\], as the shadows' are"),
        (
            dict(target=answers(N).reshape(-1), shadows=answers(S, N).reshape(S, -1)),
            r"if target has 3 numbers for each of 12 labels, save target\.reshape\(12, 3\)",
        ),
        (dict(labels=Y + 1), "the largest is 3, and the answers have 3 columns: .* so give labels - 1"),
        (dict(target=answers(N)[:, 0]), r"shadows has shape \(4, 12, 3\); needed: \[S, 12\], as target"),
        (dict(target=Y), "target has type int"),
        (dict(target=answers(N)[:, :1]), r"shadows has shape \(4, 12, 3\); needed: \[S, 12, 1\]"),
        (dict(shadows=answers(N)), r"shadows has shape \(12, 3\); needed: \[S, 12, 3\]"),
        (dict(shadows=answers(S, N - 1)), r"shadows has shape \(4, 11, 3\)"),
        (dict(shadows=answers(0, N)), "S > 0"),
        (dict(shadow_member=MEMBER), r"shadow_member has shape \(12,\); needed: \[4, 12\]"),
        (dict(shadow_member=PREDICTIONS["shadow_member"] * 2), "something else than true and false"),
        (spoiled("target", (7, 1), np.nan), "target, record 7: the probability of class 1 is not finite"),
        (spoiled("shadows", (2, 5), [0.9, 0.3, 0.1]), r"shadows\[2\], record 5: the probabilities sum to 1\.3"),
        (spoiled("shadows", (3, 0), [1.2, -0.2, 0.0]), r"shadows\[3\], record 0: .* negative"),
        (dict(member=MEMBER[:3]), r"member has shape \(3,\)"),
        (
            dict(target=np.log(answers(N))),
            "target holds log-probabilities, and shadows.0. holds prob",
        ),
        (
            dict(target=np.log(answers(N)) + 1),
            "of several kinds .target holds logits, and shadows.0. holds",
        ),
        (
            dict(target=np.arange(3.0 * N).reshape(N, 3)),
            "target, record 0: the probabilities sum to 3, not to 1.*logits of all classes in every row",
        ),
        (dict(shadows=100 * answers(S, N)), r"shadows\[0\]: its rows look like percentages .*save shadows / 100"),
        (dict(target=np.round(100 * answers(N)).astype(int)), "target: its rows look like percentages"),
        (
            dict(target=np.log2(answers(N))),
            r"look like logarithms to base 2 .*save np\.exp2\(target\)",
        ),
        (dict(target=np.log10(answers(N))), r"look like logarithms to base 10 .*save 10\.0 \*\* target"),
        (
            dict(target=np.round(255 * answers(N)).astype(np.uint8)),
            r"counts, or quantized scores .*save target / target\.sum",
        ),
        (
            dict(target=np.round(256 * answers(N) - 128).astype(np.int8)),
            r"save \(target \+ 128\.0\) / \(target \+ 128\.0\)\.sum",
        ),
        (dict(target=-np.log(answers(N))), r"negative logarithms of probabilities .*save np\.exp\(-target\)"),
        (dict(target=np.random.default_rng(0).multinomial(20, answers(N))), "look like counts, or quantized"),
        (dict(labels=np.where(Y == 0, -100, Y)), '"ignored"'),
        (dict(target=np.round(255 * answers(N))), "its rows look like counts, or quantized scores"),
        (dict(target=np.char.mod("%.2f%%", 100 * answers(N))), r"percentages written as text .*rstrip.*/ 100"),
        (dict(target=answers(N).astype(str)), r"numbers written as text .*save target\.astype\(float\)"),
        (dict(labels=np.where(Y == 0, -1, Y)), r'"unlabeled" .*leave such records out of all arrays'),
        (spoiled("target", (0, 0), -5.0), "target, record 0: the probability of class 0 is negative"),
    ],
)
def test_predictions_that_are_none_are_refused(tmp_path, change, reason):
    arrays = {name: value for name, value in (PREDICTIONS | change).items() if value is not None}
    with pytest.raises(InputError, match=reason) as error:
        records.load_predictions(written(tmp_path, **arrays))
    assert "mine.npz" in str(error.value) and "\n" not in str(error.value)


IS_FIFTH = np.broadcast_to((np.arange(N) == 5)[:, None], (N, 3))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(target=np.log2(answers(N))), r"look like logarithms to base 2 .*save np\.exp2\(target\)"),
        (dict(shadows=np.round(255 * answers(S, N)).astype(np.uint8)), "shadows: .*save shadows / shadows"),
        (dict(target=np.char.mod("%.1f%%", 100 * answers(N))), "percentages written as text"),
        (dict(labels=np.where(Y == 0, -1, Y)), '"unlabeled"'),
        (
            dict(target=np.ma.masked_where(np.arange(N)[:, None] == [5] * 3, answers(N))),
            r"target is .* at \[5, 0\] and 2",
        ),
        (
            dict(shadow_member=[np.arange(3), np.arange(5), np.arange(4)]),
            r"^shadow_member has rows of different lengths, as lists of record numbers have: .*np\.isin",
        ),
        (dict(labels=np.ma.masked_array(Y, Y == 1)), "labels is a masked array.*leave such records out"),
        (
            dict(population=dict(PREDICTIONS, labels=np.ma.masked_array(Y, Y == 1))),
            r"population\['labels'\] is a",
        ),
    ],
)
def test_infer_refuses_in_the_same_words(change, reason):
    given = {name: value for name, value in PREDICTIONS.items() if name != "member"}
    with pytest.raises(InputError, match=reason):
        infer("loss", **given | change)


def test_a_mask_that_hides_nothing_is_no_mask():
    given = {name: np.ma.masked_array(value) for name, value in PREDICTIONS.items() if name != "member"}
    np.testing.assert_array_equal(infer("loss", **given), infer("loss", **{k: v.data for k, v in given.items()}))


@pytest.mark.parametrize("load", [records.load_question, records.load_predictions])
def test_files_that_are_none_are_refused(tmp_path, load):
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "no.npz")
    for content in (b"", b"x,y\n", npz(x=X, y=Y, **PREDICTIONS)[:-30]):
        (tmp_path / "mine.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"mine\.npz cannot be used") as error:
            load(tmp_path / "mine.npz")
        assert "\n" not in str(error.value)


# --- shadow data -----------------------------------------------------------------------------------------------------


def test_shadows_may_not_train_on_records_that_are_asked_about():
    x = np.random.default_rng(0).normal(size=(20, 2, 3))
    free = records.apart(x, x[[3, 11]].astype(np.float32))
    assert np.flatnonzero(~free).tolist() == [3, 11]
    np.testing.assert_array_equal(records.apart(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[-0.0, 1]])), [0, 1])
    assert not records.apart(X, X.astype(bool)).any()
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        records.apart(X, X[:, :3])


# --- types of numbers ------------------------------------------------------------------------------------------------


def thousand(n: int, *more: int) -> np.ndarray:
    return np.random.default_rng(3).dirichlet(np.full(1000, 0.05), (*more, n))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f2", ">f4", ">f8"])
def test_predictions_of_any_floating_type_are_read(tmp_path, dtype):
    asked = dict(
        labels=Y, target=thousand(N), shadows=thousand(N, S + 1)[1:], shadow_member=PREDICTIONS["shadow_member"]
    )
    typed = {name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in asked.items()}
    found = records.load_predictions(written(tmp_path, **typed, member=MEMBER))
    np.testing.assert_allclose(found.target, asked["target"], rtol=2e-3, atol=1e-7)
    assert found.target.dtype.isnative and found.target.dtype.itemsize in (2, 4, 8)

    for attack in ("lira", "rmia", "modified_entropy", "attack_r"):
        scores = infer(attack, **{name: getattr(found, name) for name in asked})  # warnings are errors
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (dict(target=answers(N).astype("f2").view("V2")), r"target has type \|V2, as bfloat16 becomes in a file"),
        (dict(shadows=answers(S, N).astype(complex)), "shadows has type complex128; needed: real numbers"),
        (dict(target=answers(N).astype("f2") * np.float16(60000)), "target, record 0: the probabilities sum to"),
        (dict(target=np.full((N, C), np.inf, "f2")), "the probability of class 0 is not finite"),
        (dict(target=np.full((N, C), np.longdouble("1e4000"))), "the probability of class 0 is not finite"),
        (dict(labels=np.where(Y == 1, np.nan, Y)), "there is no label of record 1"),
        (dict(labels=np.eye(C)[Y] + np.eye(C)[(Y + 1) % C]), "record 0 has 2 labels at once"),
    ],
)
def test_numbers_that_are_none_are_told_as_what_they_are(tmp_path, arrays, reason):
    with pytest.raises(InputError, match=reason) as error:
        records.load_predictions(written(tmp_path, **(PREDICTIONS | arrays)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [Y.astype(float), Y.astype(str), np.array([*"abc"])[Y], np.eye(C)[Y]])
def test_labels_of_any_type_are_read_and_said(tmp_path, labels):
    lines = []
    found = records.load_predictions(written(tmp_path, **(PREDICTIONS | {"labels": labels})), lines.append)
    np.testing.assert_array_equal(found.labels, Y)
    assert len(lines) == (labels.ndim == 2 or "a" in labels)


@pytest.mark.parametrize("dtype", [bool, "u1", "i8", "f2", "f4", "g", ">i4"])
def test_memberships_of_any_type_are_read(tmp_path, dtype):
    given = PREDICTIONS | {"shadow_member": PREDICTIONS["shadow_member"].astype(dtype), "member": MEMBER.astype(dtype)}
    found = records.load_predictions(written(tmp_path, **given))
    np.testing.assert_array_equal(found.shadow_member, PREDICTIONS["shadow_member"])
    np.testing.assert_array_equal(found.member, MEMBER)
