"""What numbers are that somebody gives as answers: told, said, the same at every entrance; never guessed silently."""

import jax.numpy as jnp
import numpy as np
import pytest

import mia_jax as mia
from mia_jax.audits.deployed import records
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.targets import answer_format, answer_kinds
from mia_jax.types import Answers, InputError

N, C, S = 200, 3, 4
RNG = np.random.default_rng(0)
Y = np.arange(N) % C
MEMBER = np.arange(N) % 2 == 0
TRAINED = RNG.random((S, N)) < 0.5
KNOWN = np.concatenate([MEMBER[None], TRAINED])  # logits of models that remember
LOGITS = RNG.normal(size=(S + 1, N, C)) + np.eye(C)[Y] * (2 + 2 * KNOWN[..., None])
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
TWO = 1 / (1 + np.exp(-RNG.normal(size=(S + 1, N)) + (1 - Y % 2 * 2) * (2 + 2 * KNOWN)))
HALF_CUT = (np.arange(N)[:, None] % 2 == 0) & (np.eye(C)[Y] == 1)  # the true class's, as no threshold does
FORMS = {
    "logits": (LOGITS, "logits"),
    "logits in float16": (LOGITS.astype(np.float16), "logits"),
    "log-probabilities": (np.log(P), "log-probabilities"),
    "log-probabilities in float32": (np.log(P).astype(np.float32), "log-probabilities"),
    "probabilities": (P, "probabilities"),
    "float16": (P.astype(np.float16), "probabilities"),
}
OF_TWO = {
    "sigmoid [n]": (TWO, "probabilities of class 1"),
    "sigmoid [n, 1]": (TWO[..., None], "probabilities of class 1"),
    "sigmoid in float16": (TWO.astype(np.float16), "probabilities of class 1"),
    "logit [n]": (np.log(TWO / (1 - TWO)), "logits of class 1"),
    "logit [n, 1]": (np.log(TWO / (1 - TWO))[..., None], "logits of class 1"),
}
ALL = FORMS | OF_TWO


def meant(name):
    return (P, Y) if name in FORMS else (np.stack([1 - TWO, TWO], -1), Y % 2)


def near(name):
    return 5e-3 if "float16" in name else 1e-5


@pytest.mark.parametrize("name", ALL)
def test_kinds_are_told_and_read(name):
    values, kind = ALL[name]
    found = answer_kinds.read(values[0])
    assert found.kind == kind and bool(found.note) == (kind != "probabilities")
    np.testing.assert_allclose(found.p, meant(name)[0][0], atol=near(name))


FIRST = ("logits", "sigmoid [n]")
REST = [pytest.param(name, marks=pytest.mark.integration) for name in ALL if name not in FIRST]


@pytest.mark.parametrize("name", [*FIRST, *REST])
def test_every_entrance_reads_them_alike(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (values, kind), (p, y) = ALL[name], meant(name)
    said = kind == "probabilities"
    x = np.arange(N)[:, None]
    one = mia.audit(lambda x: values[0][x[:, 0]], x, y, MEMBER, attacks="loss")
    np.testing.assert_allclose(
        one["loss"].scores, mia.audit(p[0], x, y, MEMBER, attacks="loss")["loss"].scores, atol=0.1
    )
    assert said or kind.split()[0][:5] in " ".join(one.results["dataset"]["notes"])
    np.savez("preds.npz", labels=y, target=values[0], shadows=values[1:], shadow_member=TRAINED, member=MEMBER)
    lines = []
    saved = records.load_predictions("preds.npz", lines.append)
    np.testing.assert_allclose(saved.target, p[0], atol=near(name))
    np.testing.assert_allclose(saved.shadows, p[1:], atol=near(name))
    assert (lines == []) == said
    brought = mia.audit(
        values[0], x, y, MEMBER, shadows=dict(shadows=values[1:], shadow_member=TRAINED), attacks="rmia"
    )
    assert np.isfinite(brought["rmia"].scores).all()
    plan = mia.plan(N, S)
    gathered = mia.collect(plan, dict(enumerate(values[1:])), target=values[0], notify=lines.append)
    np.testing.assert_allclose(gathered["shadows"], p[1:], atol=near(name))
    np.testing.assert_allclose(gathered["target"], p[0], atol=near(name))


@pytest.mark.parametrize("name", ["logits", "sigmoid [n]", "log-probabilities"])
def test_infer_reads_them_with_a_warning(name):
    (values, _), (p, y) = ALL[name], meant(name)
    with pytest.warns(UserWarning, match="Answers of target and shadows are"):
        scores = mia.infer("rmia", labels=y, target=values[0], shadows=values[1:], shadow_member=TRAINED)
    plain = mia.infer("rmia", labels=y, target=p[0], shadows=p[1:], shadow_member=TRAINED)
    np.testing.assert_allclose(scores, plain, atol=1e-4)
    population = dict(labels=y, target=values[0], shadows=values[1:])
    with pytest.warns(UserWarning, match="Answers of target and shadows are"):
        mia.infer("rmia", labels=y, target=values[0], shadows=values[1:], shadow_member=TRAINED, population=population)


MASK = np.arange(C) == np.argmin(P, axis=-1)[..., None]  # the class that each model finds least likely
BEST = np.where(MASK, 0, P)
VOTES = np.round(TWO * 10) / 10
with np.errstate(divide="ignore"):
    INFINITE = {  # answers with -inf, what they are read as, and the word for it
        "masked logits": (np.where(MASK, -np.inf, LOGITS), BEST / BEST.sum(-1, keepdims=True), "0 for a class whose"),
        "log-probabilities of the two best": (np.log(BEST), BEST, "log-probabilities"),
        "in float16": (np.log(BEST).astype(np.float16), BEST, "log-probabilities"),
        "logits of votes": (
            np.log(VOTES) - np.log(1 - VOTES),
            np.stack([1 - VOTES, VOTES], -1),
            "1 where it is inf and 0 where it is -inf",
        ),
    }


@pytest.mark.parametrize("name", INFINITE)
def test_minus_infinity_is_probability_0(name):
    """A mask among logits, the logarithm of 0: "the probability of class 2 is not finite"."""
    values, p, told = INFINITE[name]
    assert np.isneginf(values[0]).any() and np.isneginf(values[1:]).any()
    found = answer_kinds.of_models(values[0], values[1:])
    assert told in found.note
    np.testing.assert_allclose(found.target, p[0], atol=max(near(name), 1e-3))
    np.testing.assert_allclose(found.shadows, p[1:], atol=max(near(name), 1e-3))
    target = mia.audit(lambda x: values[0], np.zeros((N, 1)), Y % p.shape[-1], MEMBER, attacks="loss")
    meant = mia.audit(lambda x: found.target, np.zeros((N, 1)), Y % p.shape[-1], MEMBER, attacks="loss")
    np.testing.assert_allclose(target["loss"].scores, meant["loss"].scores, rtol=1e-3, atol=1e-5)
    gathered = mia.collect(mia.plan(N, S), dict(enumerate(values[1:])), notify=lambda line: None)
    np.testing.assert_allclose(gathered["shadows"], p[1:], atol=max(near(name), 1e-3))


def test_independent_sigmoids_are_called_so_at_every_entrance():
    values = 1 / (1 + np.exp(-LOGITS))
    own = dict(shadows=values[1:], shadow_member=TRAINED)
    for given in (P[0], values[0]):
        with pytest.raises(InputError, match=r"independent sigmoids .*one label at a time"):
            mia.infer("loss", labels=Y, target=given, **own)
    with pytest.raises(InputError, match=r"sigmoids .*one label at a time"):
        mia.audit(lambda x: values[0], np.zeros((N, 1)), Y, MEMBER, attacks="loss")


def test_log_probabilities_above_a_threshold_are_read_as_such():
    told = np.where(P < 0.05, 0, P)
    with np.errstate(divide="ignore"):
        found = answer_kinds.of_models(np.log(told[0]), np.log(told[1:]))
    np.testing.assert_allclose(found.target, told[0], atol=1e-12)
    np.testing.assert_allclose(found.shadows, told[1:], atol=1e-12)


def test_a_flat_array_that_was_reshaped_by_columns_is_named():
    """It was said to be a softmax over the records."""
    n = 30 * C
    flat = [p[:n].reshape(-1).reshape(C, n).T for p in P]
    given = dict(labels=Y[:n], shadow_member=TRAINED[:, :n])
    with pytest.raises(InputError, match=r"or a flat array was reshaped by columns: save it as \.reshape\(-1, 3\)"):
        mia.infer("lira", target=flat[0], shadows=np.stack(flat[1:]), **given)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.int64])
def test_bytes_of_a_quantized_models_logits_are_no_logits(dtype):
    """They were read as "logits, of which softmax makes probabilities", and RMIA found less."""
    q = np.clip(np.round(LOGITS / 0.05), -128, 127).astype(dtype)
    words = r"whole ones from -\d+ to \d+ .*bytes of a quantized model's logits: save \(q - zero_point\) \* scale"
    with pytest.raises(InputError, match=words):
        mia.infer("rmia", labels=Y, target=q[0], shadows=q[1:], shadow_member=TRAINED)
    with pytest.raises(InputError, match=words):
        mia.audit(lambda x: q[0], np.zeros((N, 1)), Y, MEMBER, attacks="loss")
    few = np.round(LOGITS).astype(np.float64)  # whole logits of a narrow range
    assert answer_kinds.together({"target": few[0]})["target"].kind == "logits"


@pytest.mark.parametrize("steps", [255, 256])
def test_probabilities_of_a_quantized_model_sum_to_one_as_well_as_bytes_can(steps):
    """An ordinary int8 model's dequantized softmax was refused for its sums."""
    p = RNG.dirichlet(np.ones(10), 500)
    p = np.round(p * steps) / steps
    assert np.abs(p.sum(axis=1) - 1).max() > 7e-3
    assert answer_kinds.together({"target": p})["target"].kind == "probabilities"
    assert answer_format.recognize(p).kind == answer_format.recognize(p[:16], few=True).kind == "probabilities"
    many = np.round(RNG.dirichlet(np.ones(1000), 20) * steps) / steps
    many[3] = 0
    assert 3 in answer_format.faults(many, Answers(1000))


def test_two_sigmoids_that_nearly_sum_to_one_are_to_be_divided_by_their_sum():
    """As of Dense(2, sigmoid) with a binary cross-entropy."""
    p = np.stack([1 - TWO[0], TWO[0]], axis=-1)
    p[::9] *= 0.9
    with pytest.raises(answer_kinds.Faulty, match=r"not to 1; .*save target / target\.sum\(axis=-1, keepdims"):
        answer_kinds.together({"target": p})


def test_several_kinds_are_refused():
    with pytest.raises(answer_kinds.Faulty, match="target holds probabilities, and shadows holds logits"):
        answer_kinds.together({"target": P[0], "shadows": LOGITS[1]})
    with pytest.raises(InputError, match="several kinds"):
        mia.infer("rmia", labels=Y, target=LOGITS[0], shadows=P[1:], shadow_member=TRAINED)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.abs(LOGITS[0]) + 1, "sum to"),  # without one below 0 these are no logits for sure
        (RNG.random((N, C)), r"independent sigmoids .*several labels at once.* p\[..., k\] .*, save p / p.sum"),
        (
            1 - np.linspace(0.2, 1, 4) * TWO[0][:, None],
            r"P\(y > k\) of ordered classes .*save -np\.diff\(p, .*prepend=1, append=0",
        ),
        (np.minimum(np.cumsum(P[0], axis=1), 1), r"P\(y <= k\) of ordered classes .*save np\.diff\(p, .*prepend=0\)"),
        (np.column_stack([np.arange(N), LOGITS[0]]), r"column 0 counts the rows.*save np\.delete\(p, 0, axis=-1\)"),
        (np.column_stack([np.arange(N) + 7, P[0]]), r"column 0 counts the rows.*save np\.delete\(p, 0, axis=-1\)"),
        (np.column_stack([P[0], P[0].argmax(axis=1)]), r"column 3 is no class's.* np\.delete\(p, 3, axis=-1\)"),
        (-np.sort(-RNG.dirichlet(np.full(50, 0.3), N))[:, :5], "sum to less than 1"),  # the best five of many
        (
            np.column_stack([np.ones(N), 0.7 * TWO[0], 0.2 * TWO[0]]),
            r"P\(y >= k\) .* -np\.diff\(p, axis=-1, append=0\)",
        ),
        (np.where(HALF_CUT, -np.inf, np.log(P[0])), "log-probabilities of which the smallest were cut off"),
        (np.where(np.arange(N)[:, None] == 3, np.inf, LOGITS[0]), "not finite"),
        (np.where(np.arange(N)[:, None] == 3, -np.inf, LOGITS[0]), "not finite"),
        (np.where(np.arange(N) == 3, np.inf, TWO[0]), "not finite"),
        (100 * P[0], "percentages .*save p / 100"),
        (np.log2(P[0]), "logarithms to base 2"),
        (100 * TWO[0], "no probabilities of class 1, nor logits, .*percentages save p / 100"),
        (np.ones(N), r"1 for every record, as a softmax over one number is: give the network a sigmoid"),
        (np.arange(N) % 4.0, r"p\.astype\(int\), or save probabilities, as multi:softprob gives"),
        (TWO[0] + 1.2, r"by which all are of class 1, 1 / \(1 \+ np\.exp\(-p\)\)"),
        (np.where(np.arange(N)[:, None] == 3, np.nan, P[0]), "null, or NaN"),
        (np.where(np.arange(N)[:, None] == 3, 2 * P[0], P[0]), "sum to 2"),
        (np.where(np.arange(N) == 3, np.nan, TWO[0]), "not finite"),
        (np.log(TWO[0]), r"log-probabilities of class 1 save np.exp\(p\)"),
    ],
)
def test_other_numbers_are_refused(values, told):
    with pytest.raises(answer_kinds.Faulty, match=told):
        answer_kinds.read(values)


def test_a_kind_that_was_seen_decides_for_few_rows():
    """One logit may lie between 0 and 1; all that the model answers about its training set do not."""
    logits = np.log(TWO[0] / (1 - TWO[0]))
    row = int(np.argmin(np.abs(logits - 0.5)))
    target = mia.platforms.of_fit(lambda x, y, *, seed: lambda x: logits[x[:, 0]], 2).fit(np.arange(N)[:, None], Y % 2)
    np.testing.assert_allclose(np.exp(target.ask(np.array([[row]])))[0, 1], TWO[0, row], atol=1e-6)


def test_answers_in_npy_files(tmp_path):
    for name, array in dict(
        labels=Y, target=LOGITS[0], shadows=LOGITS[1:], shadow_member=TRAINED, member=MEMBER
    ).items():
        np.save(tmp_path / f"{name}.npy", array)
    saved = records.load_predictions(tmp_path)
    np.testing.assert_allclose(saved.shadows, P[1:], atol=1e-6)
    assert saved.member is not None and saved.member.tolist() == MEMBER.tolist()
    files = dict(shadows=tmp_path / "shadows.npy", shadow_member=tmp_path / "shadow_member.npy")
    found = mia.audit(str(tmp_path / "target.npy"), np.zeros((N, 1)), Y, MEMBER, shadows=files, attacks="rmia")
    assert found["rmia"].auc.value is not None
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(InputError, match=r"shadows.npy and no labels.npy"):
        records.load_predictions(tmp_path)


def test_bfloat16_of_jax_is_read_wherever_arrays_are_given(tmp_path):
    """NumPy takes it for no number."""
    half = jnp.asarray(P, jnp.bfloat16)
    x, own = np.arange(N)[:, None], dict(shadows=np.asarray(half[1:]), shadow_member=TRAINED)
    found = mia.audit(lambda x: half[0][x[:, 0]], x, Y, MEMBER, shadows=own, attacks="loss,rmia")
    plain = mia.audit(lambda x: P[0][x[:, 0]], x, Y, MEMBER, shadows=own | {"shadows": P[1:]}, attacks="loss,rmia")
    assert abs(found["rmia"].auc.value - plain["rmia"].auc.value) < 0.02
    assert np.isfinite(mia.infer("loss", labels=Y, target=half[0], shadows=half[1:], shadow_member=TRAINED)).all()
    plan = mia.plan(N, S)
    np.testing.assert_allclose(mia.collect(plan, dict(enumerate(half[1:])))["shadows"], P[1:], atol=5e-3)
    np.save(tmp_path / "0.npy", np.asarray(half[0]))
    with pytest.raises(
        InputError, match=r"as bfloat16 becomes in a file; needed: numbers: write p.astype\(np.float32\)"
    ):
        mia.collect(plan, {0: tmp_path / "0.npy"})


def test_one_number_for_each_record_may_be_written_in_two_ways():
    given = dict(labels=Y % 2, shadow_member=TRAINED)
    with pytest.warns(UserWarning, match="one number for each record"):
        scores = mia.infer("loss", target=TWO[0], shadows=TWO[1:], **given)
    for target, shadows in ((TWO[0], TWO[1:, :, None]), (TWO[0][:, None], TWO[1:])):
        with pytest.warns(UserWarning, match="one number for each record"):
            np.testing.assert_array_equal(mia.infer("loss", target=target, shadows=shadows, **given), scores)


def test_doubts_of_one_call_are_python_warnings():
    """Who reads one number of a result does not read its words."""
    own = dict(shadows=P[1:], shadow_member=TRAINED)
    with pytest.warns(AnswersWarning, match="labels"):
        mia.audit(P[0], np.arange(N)[:, None], (Y + 1) % C, MEMBER, shadows=own, attacks="loss")


def test_logarithms_with_a_floor_and_log_odds_are_no_logits():
    """Read as logits, a forest's log10(p + 1e-6) moved RMIA from .955 to .930, the log-odds of each class to .922."""
    p = np.random.default_rng(0).dirichlet(np.full(5, 0.3), 60)
    p[:, 1] = 0
    p /= p.sum(axis=1, keepdims=True)
    p[0] = np.eye(5)[2]
    for given, told in (
        (np.log10(p + 1e-6), r"logarithms to base 10 .*: save 10.0 \*\* p"),
        (np.log((p + 1e-6) / (1 - p + 1e-6)), r"log-odds of each class .*: save 1 / \(1 \+ np.exp\(-p\)\)"),
    ):
        with pytest.raises(answer_kinds.Faulty, match=told):
            answer_kinds.kind_of(given)
    assert answer_kinds.kind_of(np.log(p + 1e-6)) == "log-probabilities"
    d = np.linspace(-3, 3, 60)
    assert answer_kinds.kind_of(np.stack([-d, d], 1)) == "logits"


def test_target_and_shadows_are_as_exact_as_each_other():
    """Shadows in float16 beside a target in float64: LiRA of a forest fell from .920 to .872."""
    target, shadows = (
        np.random.default_rng(0).dirichlet(np.ones(3), 20),
        np.random.default_rng(1).dirichlet(np.ones(3), (4, 20)),
    )
    for given in ((target, shadows.astype(np.float16)), (target.astype(np.float16), shadows)):
        found = answer_kinds.of_models(*given)
        assert found.target.dtype == found.shadows.dtype == np.float16 and "were rounded to it" in found.note
    for given in ((target, shadows), (target.astype(np.float32), shadows), (None, shadows.astype(np.float16))):
        assert answer_kinds.of_models(*given).note == ""


def test_a_probability_of_class_1_may_be_rounded_above_1():
    """A vote of ten networks in float32, whose largest is 1.0000001, was refused as numbers from 0 to 1."""
    p = np.linspace(0, 1, 50, dtype=np.float32)
    p[-1] = np.nextafter(np.float32(1), np.float32(2))
    found = answer_kinds.read(p)
    assert found.kind == answer_kinds.SURE_OF_CLASS_1 and found.p.min() == 0 and found.p.max() == 1
    with pytest.raises(answer_kinds.Faulty):
        answer_kinds.read(p * 1.01)


@pytest.mark.parametrize("batch", [N, 64, 40])
def test_a_softmax_over_the_records_is_named(batch):
    """A column of a class was said to be missing, or the rows to be independent sigmoids."""
    logits = 3 * LOGITS
    turned = np.concatenate(
        [
            np.exp(part) / np.exp(part).sum(1, keepdims=True)
            for part in np.split(logits, range(batch, N, batch), axis=1)
        ],
        1,
    )
    given = dict(labels=Y, shadow_member=TRAINED, member=MEMBER)
    where = "" if batch == N else f" in each batch of {batch} rows"
    for dtype in (np.float64, np.float32):
        p = turned.astype(dtype)
        with pytest.raises(InputError, match=rf"^target: its columns sum to 1{where}, .*over the records \(dim=0\)"):
            mia.infer("lira", target=p[0], shadows=p[1:], **given)
    with pytest.raises(InputError, match=r"look like a softmax over the records .*over the last axis"):
        mia.audit(lambda x: turned[0], np.zeros((N, 1)), Y, MEMBER, attacks="loss")
    thirds = P[..., [0]] * RNG.dirichlet(np.ones(3), (S + 1, N))  # of which a column is missing
    with pytest.raises(InputError, match=r"column of a class is missing"):
        mia.infer("lira", target=thirds[0], shadows=thirds[1:], **given)
