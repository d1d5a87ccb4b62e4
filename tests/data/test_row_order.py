"""What pandas holds beside records, in another order: an index that says so is not passed over."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import mia_jax as mia
from mia_jax.data import row_order
from mia_jax.types import InputError

pandas = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
N, C = 600, 3
ORDER = RNG.permutation(N)
TOWN = pandas.Series(np.where(np.arange(N) % 3 == 0, "Ulm", "Bonn"))
X = pandas.DataFrame(RNG.random((N, 4)), columns=list("abcd")).loc[ORDER]
Y = pandas.Series(np.arange(N) % C).loc[ORDER]
MEMBER = np.arange(N) < N // 2
WHO = RNG.random((4, N)) < 0.5
ANSWERS = np.exp(RNG.normal(size=(5, N, C)) + 2 * np.eye(C)[Y] * (1 + np.stack([MEMBER, *WHO])[..., None]))
P, *SHADOWS = ANSWERS / ANSWERS.sum(axis=-1, keepdims=True)
SHADOWS = np.stack(SHADOWS)


def audit(x=X, y=Y, predict=P, **more):
    return mia.audit(predict, x, y, MEMBER, attacks="loss", **more)


def test_a_group_in_another_order_is_refused():
    with pytest.raises(InputError, match=r"group\.loc\[x\.index\] aligns them; where group is in x's order"):
        audit(group=TOWN)
    with pytest.raises(InputError, match=r"group\.loc\[y\.index\]"):
        audit(X.to_numpy(), group=TOWN)
    with pytest.raises(InputError, match=r"group\.loc\[x\.index\]"):
        audit(X, Y.to_numpy(), group=TOWN.astype("category"))
    found = audit(group=TOWN.loc[X.index]).results["subgroups"]
    counts = {one["group"]: one["members"] for block in found if block["by"] == "group" for one in block["groups"]}
    assert counts == {"Ulm": int((ORDER[MEMBER] % 3 == 0).sum()), "Bonn": int((ORDER[MEMBER] % 3 > 0).sum())}


def test_a_group_of_more_records_is_refused_with_what_takes_theirs():
    with pytest.raises(InputError, match=r"600 values, and there are 300 records.*group\.loc\[x\.index\] takes theirs"):
        mia.audit(P[150:450], X[150:450], Y[150:450], MEMBER[150:450], attacks="loss", group=TOWN)
    named = TOWN[:300].set_axis([*X.index[150:300], *range(5000, 5150)])
    differ = r"share labels but differ \(.*\.index\[\d+\] is (?!(\S+), .*index\[\d+\] \1\))"
    with pytest.raises(InputError, match=differ):
        mia.audit(P[150:450], X[150:450], Y[150:450], MEMBER[150:450], attacks="loss", group=named)


@pytest.mark.filterwarnings("ignore:Members and non-members differ")  # of 300 records, by chance
@pytest.mark.parametrize(
    "group", ["plain", "numbered", *(pytest.param(k, marks=pytest.mark.integration) for k in ("other names", "array"))]
)
def test_groups_by_position_stay(group):
    part = slice(150, 450)
    values = TOWN.loc[X.index[part]]
    given = {
        "plain": values,
        "numbered": values.reset_index(drop=True),
        "other names": values.set_axis([f"r{k}" for k in range(300)]),
        "array": values.to_numpy(),
    }
    of = mia.audit(P[part], X[part], Y[part], MEMBER[part], attacks="loss", group=given[group]).results["subgroups"]
    assert any(block["by"] == "group" for block in of)


def test_saved_answers_in_another_order_are_refused():
    frame = pandas.DataFrame(P, index=X.index)
    with pytest.raises(InputError, match=r"x and predict are paired.*predict\.loc\[x\.index\]"):
        audit(predict=frame.sort_index().set_axis(sorted(ORDER)))
    audit(predict=frame)
    audit(predict=frame.reset_index(drop=True))  # as a frame of predict_proba(x) is numbered
    shadows = [pandas.DataFrame(p, index=X.index) for p in SHADOWS]
    shadows[2] = shadows[2].sort_index().set_axis(sorted(ORDER))
    with pytest.raises(InputError, match=r"shadows\[2\]\.loc\[x\.index\]"):
        audit(shadows={"shadows": shadows, "shadow_member": WHO})


def test_who_trained_shadows_by_columns_in_another_order_is_refused():
    who = pandas.DataFrame(WHO, columns=X.index)
    turned = who[[*sorted(ORDER)]]
    for shadows in ({"shadows": SHADOWS, "shadow_member": turned}, (SHADOWS, turned)):
        with pytest.raises(InputError, match=r"shadow_member\[x\.index\] aligns them"):
            audit(shadows=shadows)
    audit(shadows={"shadows": SHADOWS, "shadow_member": who})
    audit(shadows={"shadows": SHADOWS, "shadow_member": pandas.DataFrame(WHO)})


def test_infer_refuses_what_has_another_order_than_the_labels():
    def infer(**more):
        return mia.infer("rmia", **{**dict(labels=Y, target=P, shadows=SHADOWS, shadow_member=WHO), **more})

    with pytest.raises(InputError, match=r"member\.loc\[labels\.index\]"):
        infer(member=pandas.Series(MEMBER, index=Y.index).sort_index())
    with pytest.raises(InputError, match=r"target\.loc\[labels\.index\]"):
        infer(target=pandas.DataFrame(P, index=Y.index).sort_index().set_axis(sorted(ORDER)))
    with pytest.raises(InputError, match=r"shadow_member\[labels\.index\]"):
        infer(shadow_member=pandas.DataFrame(WHO, columns=Y.index)[[*sorted(ORDER)]])
    assert len(infer(target=pandas.DataFrame(P), member=pandas.Series(MEMBER, index=Y.index))) == N


def test_frames_of_other_libraries_have_no_index():
    row_order.refuse_values([1] * N, "group", {"x": X, "y": Y})
    row_order.refuse_shadow_member(WHO, {"x": X})
    row_order.refuse_answers(P, "predict", {"x": X})


def stacked(train=40, test=80):
    """Two tables that number their rows from 0, one below the other."""
    tables = [pandas.DataFrame(RNG.random((n, 4)), columns=list("abcd")) for n in (train, test)]
    return tables[0], pandas.concat(tables)


def test_members_by_an_index_that_repeats_are_named():
    train, both = stacked()
    member = both.index.isin(train.index)
    assert member.sum() == 80  # and 40 trained
    labels = RNG.integers(2, size=120)
    for x, y, name in ((both, labels, "x"), (both.to_numpy(), pandas.Series(labels, index=both.index), "y")):
        report = mia.audit(np.eye(2)[labels] * 0.5 + 0.25, x, y, member, attacks="loss")
        (note,) = [note for note in report.notes if "more than once" in note]
        assert note.startswith(f"The index of {name} has 40 labels more than once, of different records")
        assert f"{name}.index.isin(train.index) marks test records, too" in note
    model = LinearRegression().fit(train, train["b"])
    regressions = dict(shadows=LinearRegression(), num_shadows=2, signal="squared_error", attacks="loss")
    report = mia.audit(model.predict, both, both["b"], member, **regressions)
    assert any("more than once" in note for note in report.notes)


def test_members_by_place_are_not():
    train, both = stacked()
    place = np.arange(len(both)) < len(train)
    assert row_order.repeated(place, {"x": both}) == ()
    assert row_order.repeated(place, {"x": both.reset_index(drop=True)}) == ()
    assert row_order.repeated(place, {"x": both.to_numpy(), "y": place}) == ()
    few = both.set_axis([*range(7), *range(100, 133), *range(7), *range(200, 273)])  # seven labels repeat
    assert row_order.repeated(np.asarray(few.index.isin(range(7))), {"x": few}) == ()
    drawn = train.sample(200, replace=True, random_state=0)  # records that stand there several times
    both = pandas.concat([drawn, stacked()[0].set_axis(range(1000, 1040))])
    assert row_order.repeated(np.arange(240) < 200, {"x": both}) == ()


def test_an_index_of_any_kind_that_repeats():
    """Each was a traceback."""
    train, both = stacked()
    member = both.index.isin(train.index)
    own = pandas.Series(np.arange(120) // 30, index=both.index.rename("y"), name="y")
    pairs = both.set_axis(pandas.MultiIndex.from_arrays([both.index // 10, both.index % 10]))
    gaps = both.mask(np.tile(np.arange(120)[:, None] % 7 == 3, 4))
    for held in (both.rename_axis("a"), both.assign(index=1, level_0=2), own, pairs, gaps):
        assert "40 labels more than once" in row_order.repeated(member, {"x": held})[0]


@pytest.mark.parametrize("times", [2, 3])
def test_many_records_that_stand_there_several_times(times):
    """Of more rows than are compared."""
    train = pandas.DataFrame(RNG.random((3000, 4)))
    both = pandas.concat([train] * times + [train.set_axis(range(9000, 12000))])
    assert row_order.repeated(np.arange(len(both)) < times * 3000, {"x": both}) == ()
