"""Arrays whose axes are in another order: the line that refuses them says which order was meant."""

import re

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.types import InputError

N, C, S = 60, 3, 4
RNG = np.random.default_rng(0)
Y, MEMBER = np.arange(N) % C, np.arange(N) % 2 == 0
X = RNG.normal(size=(N, 5))
P = RNG.dirichlet(np.ones(C), (S + 1, N))
TRAINED = RNG.random((S, N)) < 0.5
ONE = dict(labels=Y, target=P[0], shadows=P[1:], shadow_member=TRAINED)
TURNED = {  # what is turned, and the line's last words
    "target": (P[0].T, "give target.T"),
    "shadows": (P[1:].transpose(1, 0, 2), "give np.transpose(shadows, (1, 0, 2))"),
    "shadow_member": (TRAINED.T, "give shadow_member.T"),
}


@pytest.mark.parametrize("name", TURNED)
def test_saved_answers(name, tmp_path):
    array, told = TURNED[name]
    given = ONE | {name: array}
    with pytest.raises(InputError, match=re.escape(told)):
        mia.infer("loss", **given)
    own = {key: given[key] for key in ("shadows", "shadow_member")}
    with pytest.raises(InputError, match=re.escape(told.replace("target", "p").removesuffix(")"))):
        mia.audit(lambda x: given["target"], X, Y, MEMBER, shadows=own, attacks="loss")
    np.savez(tmp_path / "preds.npz", **given, member=MEMBER)
    if name != "target":  # of which a file has no other length
        from mia_jax.audits.deployed import records

        with pytest.raises(InputError, match=re.escape(told)):
            records.load_predictions(tmp_path / "preds.npz")


def test_one_number_for_each_record():
    with pytest.raises(InputError, match=r"shadows are \[S, 60\], as target; .* give shadows.T"):
        mia.infer("loss", **ONE | dict(target=P[0, :, 1], shadows=P[1:, :, 1].T, labels=Y % 2))


@pytest.mark.parametrize("extra", [np.s_[..., None], np.s_[None]])
def test_axes_of_length_1(extra):
    with pytest.raises(InputError, match=r"give target.squeeze\(\)"):
        mia.infer("loss", **ONE | {"target": P[0][extra]})


def test_one_axis_too_many_or_too_few():
    several = np.stack([P[0], P[1]], axis=1)
    either = r"give one: target\[:, 0\] where axis 1 is theirs, or target\[:, :, 0\] where axis 2 is theirs$"
    with pytest.raises(InputError, match=either):
        mia.infer("loss", **ONE | {"target": several})
    with pytest.raises(InputError, match=r"give one: shadows\[:, :, 0\] where axis 2 is theirs$"):
        mia.infer("loss", **ONE | {"shadows": np.stack([P[1:], P[1:]], axis=2)})
    below = P[1:].reshape(S * N, C)
    with pytest.raises(
        InputError, match=r"one model below the other give shadows.reshape\(4, 60, \*shadows.shape\[1:\]\)"
    ):
        mia.infer("loss", **ONE | {"shadows": below})


def test_what_is_no_several_answers(tmp_path):
    """Of a one-hot ``member`` the first column is who did not train; shadows are no answers of the target."""
    with pytest.raises(InputError) as error:
        mia.audit(lambda x: P[0], X, Y, np.eye(2)[MEMBER.astype(int)])
    assert "member is bool" in str(error.value) and "several answers" not in str(error.value)
    np.savez(tmp_path / "preds.npz", **ONE | {"target": P[1:]}, member=MEMBER)
    from mia_jax.audits.deployed import records

    with pytest.raises(InputError, match=r"target has shape \(4, 60, 3\)") as error:
        records.load_predictions(tmp_path / "preds.npz")
    assert "several answers" not in str(error.value)


def test_records(tmp_path):
    told = r"its axes seem to be in another order: give x.T"
    with pytest.raises(InputError, match=told):
        mia.audit(lambda x: P[0], X.T, Y, MEMBER)
    with pytest.raises(InputError, match=told):
        mia.audit(lambda x: P[0, :, 0], X.T, Y * 0.1, MEMBER, signal="squared_error")
    with pytest.raises(InputError, match=told):
        mia.records(X.T, Y)
    np.savez(tmp_path / "mine.npz", x=X.T, y=Y)
    with pytest.raises(InputError, match=told):
        mia.load(str(tmp_path / "mine.npz"))
