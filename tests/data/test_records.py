"""Records from what people have in memory: the right records, or a line that names the column or row."""

import datetime
import decimal
import re

import numpy as np
import pytest
from sklearn.datasets import load_iris

import mia_jax as mia
from mia_jax.types import InputError

N = 40
RNG = np.random.default_rng(0)
AGE = RNG.integers(17, 90, N).astype(float)
TOWN = np.array(["Ulm", "Bonn", "Kiel"])[np.arange(N) % 3]
MARRIED = np.arange(N) % 2 == 0
CLASS = np.array(["no", "yes"])[(np.arange(N) // 2) % 2]
COLUMNS = {"age": AGE, "town": TOWN, "married": MARRIED, "class": CLASS}


def read(data, y=None, **more):
    said = []
    records, schema = mia.records(data, y, notify=said.append, **more)
    assert said == list(schema.notes)
    assert records.y.dtype == np.int32 and schema.shape == records.x.shape[1:]
    assert [f.start for f in schema.fields] == [0, *(f.stop for f in schema.fields)][:-1]
    return records, schema, " ".join(said)


def refused(data, y=None, **more):
    with pytest.raises(InputError) as error:
        mia.records(data, y, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(**columns):
    return {**COLUMNS, **columns}


def expected():
    towns = TOWN[:, None] == np.array(["Bonn", "Kiel", "Ulm"])
    return np.column_stack([AGE, towns, MARRIED]).astype(np.float32), (CLASS == "yes").astype(np.int32)


# --- frames ----------------------------------------------------------------------------------------------------------


def as_pandas():
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def as_pandas_with_its_own_types():
    return as_pandas().convert_dtypes().astype({"town": "category"})


def as_polars():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(COLUMNS).with_columns(polars.col("town").cast(polars.Categorical))


def as_arrow():
    return pytest.importorskip("pyarrow").table({name: list(column) for name, column in COLUMNS.items()})


def as_hugging_face():
    return pytest.importorskip("datasets").Dataset.from_dict({name: list(column) for name, column in COLUMNS.items()})


def as_rows():
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(c.tolist() for c in COLUMNS.values()), strict=True)]


def as_structured():
    kinds = [("age", float), ("town", "U4"), ("married", bool), ("class", "U3")]
    return np.array([*zip(*COLUMNS.values(), strict=True)], dtype=kinds)


HOLDERS = [
    lambda: COLUMNS,
    as_pandas,
    as_pandas_with_its_own_types,
    as_rows,
    as_structured,
    *(pytest.param(holder, marks=pytest.mark.integration) for holder in (as_polars, as_arrow, as_hugging_face)),
]


@pytest.mark.parametrize("holder", HOLDERS)
def test_tables_of_every_kind_give_the_same_records(holder):
    records, schema, said = read(holder())
    x, y = expected()
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)
    assert [(f.name, f.kind, f.categories) for f in schema.fields] == [
        ("age", "numeric", ()),
        ("town", "categorical", ("Bonn", "Kiel", "Ulm")),
        ("married", "binary", ()),
    ]
    assert schema.class_names == ("no", "yes") and schema.num_classes == 2
    assert "1 numeric (age); 1 binary (married); 1 categories (town: 3)" in said
    assert "no is 0, yes is 1" in said


def test_a_schema_is_printed_for_people():
    text = str(read(COLUMNS)[1])
    assert text.splitlines()[0] == "your records: 2 classes (no, yes); records of shape [5]"
    assert "  town: categorical x3, Bonn, Kiel, Ulm" in text and "age: numeric, " in text


def test_missing_values_become_a_category_or_stay_missing():
    pandas = pytest.importorskip("pandas")
    frame = as_pandas()
    frame.loc[3, "age"] = np.nan
    frame.loc[5, "town"] = None
    records, schema, said = read(frame)
    assert np.argwhere(np.isnan(records.x)).tolist() == [[3, 0]]
    assert schema.fields[1].categories == ("Bonn", "Kiel", "Ulm", "(missing)")
    assert records.x[5, 1:5].tolist() == [0, 0, 0, 1]
    assert "Missing numbers (NaN): age 1." in said and "(missing): town 1." in said
    nullable = as_pandas().convert_dtypes()
    nullable.loc[7, "married"] = pandas.NA
    nullable.loc[2, "age"] = pandas.NA
    records, schema, _ = read(nullable)
    assert schema.fields[2].categories == ("false", "true", "(missing)") and np.isnan(records.x[2, 0])


def test_kinds_are_overridden_and_columns_left_out():
    codes = changed(plz=np.arange(N) % 4 + 10, id=np.arange(N))
    _, schema, said = read(codes)
    assert "Column id counts the rows" in said and "`kinds=id:drop`" in said
    _, schema, said = read(codes, kinds={"plz": "category", "id": "drop"})
    assert schema.fields[-1].kind == "categorical" and schema.fields[-1].categories == ("10", "11", "12", "13")
    assert "Left out, as you said: id." in said
    assert read(codes, kinds="plz:category,id:drop")[1] == schema
    assert read(changed(**{"a,b": AGE}), kinds="a,b:drop")[1].shape == (5,)
    assert "there are age, town, married, class" in refused(COLUMNS, kinds={"aeg": "number"})
    assert "the kinds are number, category, binary and drop" in refused(COLUMNS, kinds={"age": "float"})
    assert "'Ulm' in record 0 is none" in refused(COLUMNS, kinds={"town": "number"})
    assert "has 3 values: Bonn, Kiel, Ulm" in refused(COLUMNS, kinds={"town": "binary"})


def test_a_column_that_says_who_is_a_member_is_no_feature():
    assert [f.name for f in read(changed(member=MARRIED))[1].fields] == ["age", "town", "married"]
    assert "The column member is no feature" in read(changed(member=MARRIED))[2]
    assert "member" in [f.name for f in read(changed(member=MARRIED), kinds={"member": "binary"})[1].fields]


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (np.arange(N) % 2, "binary", None),
        ([str(v) for v in AGE], "numeric", AGE),
        ([decimal.Decimal(int(v)) for v in AGE], "numeric", AGE),
        (["yes", "no"] * (N // 2), "binary", [1, 0] * (N // 2)),
        (["F", "T"] * (N // 2), "binary", [0, 1] * (N // 2)),
        ([f"{k % 5:03d}" for k in range(N)], "categorical", None),  # codes, whose zeros tell
        (["b", "a"] * (N // 2), "categorical", None),
        ([1, "a"] * (N // 2), "categorical", None),
        ([b"a", b"c"] * (N // 2), "categorical", None),
        ([*AGE[:-1], None], "numeric", [*AGE[:-1], np.nan]),
        (["?", *map(str, AGE[1:])], "numeric", [np.nan, *AGE[1:]]),
        (AGE.astype(np.float16), "numeric", AGE),
    ],
)
def test_kinds_are_inferred(column, kind, values):
    records, schema, _ = read({"a": column, "b": AGE, "y": np.arange(N) % 2})
    assert schema.fields[0].kind == kind
    if values is not None:
        np.testing.assert_array_equal(records.x[:, 0], np.float32(values))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            changed(born=[datetime.date(1990, 1, 2)] * N),
            r"born holds dates .*\(1990-01-02\).*`kinds=born:drop`",
        ),
        (changed(born=["1990-01-02"] * N), "column born holds dates"),
        (changed(born=["02.01.1990"] * N), "column born holds dates"),
        (changed(born=["1/2/90 10:00"] * N), "column born holds dates"),
        (changed(born=np.full(N, np.datetime64("2020-01-01"))), "column born holds dates"),
        (changed(took=np.full(N, np.timedelta64(5, "s"))), "column took holds dates or times"),
        (changed(name=[f"n{k}" for k in range(N)]), r"column name has 40 different texts in 40 .*`kinds=name:drop`"),
        (changed(pay=["$1,200"] * N), r"column pay holds numbers with signs or separators \('\$1,200', record 0\)"),
        (changed(pay=["12 %"] * N), "column pay holds numbers with signs"),
        *(
            (changed(pay=[sign.format(100 + k % 5) for k in range(N)]), "column pay holds numbers with signs")
            for sign in (
                "¥{}",
                "{} zł",
                "CHF {}.50",
                "US$ {}",
                "R${}",
                "{} EUR",
                "Rs. {}",
                "{}-",
                "1\u2019{}.50",
                "1\u202f{},50",
            )
        ),
        (changed(age=["x", *map(str, AGE[1:])]), "column age holds numbers, but 'x' in record 0 is none"),
        (changed(age=np.where(np.arange(N) == 7, np.inf, AGE)), "column age is inf in record 7"),
        (changed(age=np.where(np.arange(N) == 7, 1e300, AGE)), "column age has values beyond 3e38"),
        (changed(age=["x", *map(str, AGE[1:])]), "is none: mend it"),
        (changed(age=["x", "x", *map(str, AGE[2:])]), r"is none \(nor is 1 other\)"),
        (
            changed(age=[*["unknown"] * 8, *["?"] * 3, *(AGE[11:] + np.arange(29) / 64).astype(str)]),
            "column age holds numbers in 29 of 40 records, and 8 times 'unknown': leave these empty",
        ),
        (changed(age=[f"({v})" for v in AGE]), r"column age holds numbers with signs.*'\(.*-1234.5"),
        (changed(age=[f"\u2212{v}" for v in AGE]), "column age holds numbers with signs"),
        (changed(age=[f"1_{v:.0f}" for v in AGE]), "column age holds numbers with signs"),
        (changed(when=[f"{k % 28 + 1}-Jan-24" for k in range(N)]), "column when holds dates"),
        (changed(z=AGE + 1j), "column z holds complex numbers"),
        (changed(z=[{"a": 1}] * N), r"column z holds dict \(record 0\)"),
        (changed(z=AGE[:-1]), "columns have different lengths .*z 39"),
        (
            changed(y=AGE),
            "several of its columns are called so: class, y; give `label=COLUMN",
        ),
        ({"age": AGE, "town": TOWN}, "none of its columns is called label, target, class or y.*one of age, town"),
        ({"class": CLASS}, "no column is left to learn from"),
        ({}, "no records"),
        ({"age": [], "class": []}, "no records"),
    ],
)
def test_columns_are_refused_in_a_line(columns, told):
    assert re.search(told, refused(columns))


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "y", "names", "told"),
    [
        (np.arange(N) % 3, np.arange(N) % 3, (), ""),
        (np.arange(N) % 3 + 1, np.arange(N) % 3, ("1", "2", "3"), "Labels 1 to 3 are classes 0 to 2"),
        (np.arange(N) % 3 * 5.0 + 2, np.arange(N) % 3, ("2", "7", "12"), "have gaps.* 2 is 0, 7 is 1, 12 is 2"),
        (np.arange(N) % 2 * 2 - 1, np.arange(N) % 2, ("-1", "1"), "-1 is class 0"),
        (MARRIED, MARRIED, ("false", "true"), "false is 0, true is 1"),
        (CLASS, CLASS == "yes", ("no", "yes"), "no is 0, yes is 1"),
        ([str(k % 3) for k in range(N)], np.arange(N) % 3, (), ""),
        (np.array(["b", "a"], object)[np.arange(N) % 2], 1 - np.arange(N) % 2, ("a", "b"), "a is 0, b is 1"),
        (["Cat", "cat"] * (N // 2), np.arange(N) % 2, ("Cat", "cat"), "Cat and cat are two classes"),
        (["<=50K.", "<=50K"] * (N // 2), 1 - np.arange(N) % 2, ("<=50K", "<=50K."), "<=50K and <=50K. are two classes"),
        (["a b", "a_b"] * (N // 2), np.arange(N) % 2, ("a b", "a_b"), "differ by case, spaces or punctuation only"),
        (["+", "-"] * (N // 2), np.arange(N) % 2, ("+", "-"), r"\+ is 0, - is 1\.$"),
        (np.eye(3)[np.arange(N) % 3], np.arange(N) % 3, (), "one-hot: column k of 3 is class k"),
        (np.arange(N)[:, None] % 2, np.arange(N) % 2, (), ""),
    ],
)
def test_labels_of_every_kind_are_classes_from_0(labels, y, names, told):
    records, schema, said = read(np.column_stack([AGE, AGE]), labels)
    np.testing.assert_array_equal(records.y, np.asarray(y, np.int32))
    assert schema.class_names == names and re.search(told, said)
    assert schema.num_classes == len(np.unique(y))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.where(np.arange(N) == 4, np.nan, MARRIED), "there is no label of record 4: leave"),
        ([None, *CLASS[1:]], "no label of record 0"),
        (AGE + 0.5, "target of a regression"),
        (RNG.integers(0, 1000, N), "target of a regression"),
        (np.arange(N), "a label of its own"),
        (np.zeros(N), "single class"),
        (["a"] * N, "single class"),
        ([f"id{k}" for k in range(N)], "40 different texts"),
        (np.full(N, np.datetime64("2020-01-01")), "times"),
        (np.where(np.arange(N) % 3 == 0, -1, np.arange(N) % 3), "stand for"),
        (np.ones((N, 3)), "record 0 has 3 labels at once"),
        (np.full((N, 4), 0.25), "makes them of probabilities"),
        (CLASS[:-1], "x has 40 records and y 39"),
    ],
)
def test_labels_that_are_none_are_refused(labels, told):
    assert told in refused(np.column_stack([AGE, AGE]), labels)


def test_the_label_column_is_named():
    data = {"age": AGE, "Target": CLASS, "town": TOWN}
    assert read(data)[1].class_names == ("no", "yes")
    said = "Labels are the column Target; `label=COLUMN` takes another."  # it may be a feature that is called so
    assert said in read(data)[1].notes and said not in read(data, label="town")[1].notes
    assert read(data, label="town")[1].num_classes == 3
    assert "none of its columns, age, Target, town; did you mean town?" in refused(data, label="twon")
    assert "none of its columns, age, Target, town; did you mean Target?" in refused(data, label=-2)
    hot = {"age": AGE, "cat": MARRIED, "dog": ~MARRIED}
    records, schema, _ = read(hot, label=["cat", "dog"])
    assert schema.class_names == ("cat", "dog") and records.y.tolist() == (~MARRIED).astype(int).tolist()
    matrix = np.column_stack([AGE, np.arange(N) % 2])
    assert read(matrix, label=-1)[0].y.tolist() == (np.arange(N) % 2).tolist()
    assert "no column of an array" in refused(matrix, label=7)


# --- names, indexes, what scikit-learn gives -------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["none", "None", "NA", "null", "unknown", "Unlabeled"])
def test_a_class_may_be_called_as_what_is_missing_is(word):
    labels = np.where(CLASS == "no", word, "some").astype(object)
    records, schema, said = read(changed(**{"class": labels}))
    assert schema.class_names == tuple(sorted((word, "some")))
    np.testing.assert_array_equal(np.array(schema.class_names)[records.y], labels)
    assert f"{word} is a class as any other" in said
    for missing in ("", "nan", None, float("nan")):
        assert "there is no label of record 3" in refused(changed(**{"class": [*labels[:3], missing, *labels[4:]]}))


def test_words_for_missing_labels_among_numbers():
    labels = [0, 1, "NA", *[0, 1] * 18, 0]
    assert "there is no label of record 2" in refused(changed(**{"class": labels}))
    records, schema, _ = read(changed(**{"class": labels}), kinds={"class": "category"})
    assert schema.class_names == ("0", "1", "NA") and records.y[:4].tolist() == [0, 1, 2, 0]


def test_words_that_are_read_as_missing_are_said():
    _, schema, said = read(changed(town=["None", "NA", None, *TOWN[3:]]))
    assert schema.fields[1].categories[-1] == "(missing)" and "town: 'NA', 'None' are read as missing" in said


@pytest.mark.parametrize("as_frame", [False, True])
def test_what_scikit_learn_gives(as_frame):
    if as_frame:
        pytest.importorskip("pandas")
    given = load_iris(as_frame=as_frame)
    records, schema, _ = read(given)
    np.testing.assert_array_equal(records.x, np.float32(given.data))
    np.testing.assert_array_equal(records.y, given.target)
    assert schema.class_names == ("setosa", "versicolor", "virginica")
    assert [field.name for field in schema.fields] == [*given.feature_names]


def test_numbers_under_a_mask_are_missing():
    x = np.ma.masked_equal(np.tile([[1, -9], [2, 3]], (N // 2, 1)), -9)
    records, _, _ = read(x, CLASS)
    assert np.isnan(records.x[::2, 1]).all() and (records.x[1::2] == [2, 3]).all()
    with pytest.raises(InputError, match="there is no label of record 0"):
        read(np.ones((N, 2)), np.ma.masked_equal(np.arange(N) % 3, 0))


def test_a_table_beside_labels_of_another_length():
    with pytest.raises(InputError, match="the table has 40 records and y 38 labels"):
        read({"age": AGE}, CLASS[:38])


def test_indexes_that_pair_otherwise_than_the_order():
    frame = as_pandas().drop(columns="class")
    y = as_pandas()["class"]
    right = expected()[1]
    order = np.random.default_rng(1).permutation(N)
    assert "y.loc[x.index]" in refused(frame, y.iloc[order])
    np.testing.assert_array_equal(read(frame, y.iloc[order].loc[frame.index])[0].y, right)
    assert "y.set_axis(x.index)" in refused(frame, y.set_axis(range(1, N + 1)))
    for other in (y.set_axis(range(N, 2 * N)), y.to_numpy()):
        np.testing.assert_array_equal(read(frame, other)[0].y, right)


def test_a_label_column_whose_name_is_a_tuple():
    frame = as_pandas()
    frame.columns = pytest.importorskip("pandas").MultiIndex.from_tuples([("x", name) for name in COLUMNS])
    assert read(frame, label=("x", "class"))[1].class_names == ("no", "yes")


def test_identifiers_are_said():
    numbers = RNG.permutation(10_000)[:N]
    for name in ("id", "customer_id", "userId", "ID"):
        assert f"Column {name} has a value of its own in each record" in read(changed(**{name: numbers}))[2]
    for column in ({"paid": numbers}, {"id": numbers // 1000}, {"id": numbers / 7}):
        assert "value of its own" not in read(changed(**column))[2]
