"""Columns as people have them that were read as something else without a word: categoricals, units, identifiers."""

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.data import oddities
from mia_jax.types import InputError

N = 120
RNG = np.random.default_rng(0)
V = RNG.integers(0, 50, N)
Y = np.arange(N) % 2
LEVELS = ["low", "mid", "high"]
NAMES = np.array(LEVELS)[V % 3]


def read(column, y=Y, **more):
    """The field of a column, and what is said of it."""
    records, schema = mia.records({"age": V + 18, "c": column, "label": y}, notify=lambda line: None, **more)
    return records, schema, " ".join(schema.notes)


def field(schema):
    return next(f for f in schema.fields if f.name == "c")


# --- categories that say so themselves -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pandas():
    return pytest.importorskip("pandas")


@pytest.mark.parametrize("values", [V % 5, V % 5 * 10115, (V % 5).astype(str)])
def test_categories_that_are_numbers_stay_categories(pandas, values):
    """They became a numeric column, without a word."""
    _, schema, said = read(pandas.Categorical(values))
    assert field(schema).kind == "categorical" and len(field(schema).categories) == 5
    assert "Column c: its type says that its numbers are categories; `kinds=c:number` reads them as numbers." in said
    assert field(read(pandas.Categorical(values), kinds={"c": "number"})[1]).kind == "numeric"
    assert field(read(pandas.Categorical(V % 2))[1]).kind == "binary"


@pytest.mark.parametrize("made", ["pd.cut", "intervals"])
def test_intervals_are_categories(pandas, made):
    """ "column c holds Interval (record 0), and models take numbers"."""
    edges = [-1, 10, 20, 60]
    column = pandas.cut(V, edges)
    column = column if made == "pd.cut" else pandas.Series(column).astype(column.categories.dtype)
    assert field(read(column)[1]).categories == ("(-1, 10]", "(10, 20]", "(20, 60]")
    assert field(read(pandas.cut(V, [5, 10, 20, 60]))[1]).categories[-1] == "(missing)"
    _, schema, _ = read(V, pandas.cut(V, [-1, 5, 10, 60]))
    assert schema.class_names == ("(-1, 5]", "(5, 10]", "(10, 60]")  # not in the order of the alphabet


def test_periods_are_dates(pandas):
    months = pandas.PeriodIndex(pandas.Series(pandas.period_range("2000", periods=12, freq="M"))[V % 12])
    with pytest.raises(
        InputError, match=r"column c holds dates or times \(2000-\d\d\).*kinds=c:drop.*kinds=c:category"
    ):
        read(months)
    assert len(field(read(months, kinds={"c": "category"})[1]).categories) == 12
    days = np.datetime64("2020-01-01") + V % 3
    assert field(read(days, kinds="c:category")[1]).categories == ("2020-01-01", "2020-01-02", "2020-01-03")


def test_categoricals_of_identifiers_are_still_refused(pandas):
    for values in (np.arange(N) * 7, [f"n{k}" for k in range(N)]):
        with pytest.raises(InputError, match="as names, identifiers and sentences are"):
            read(pandas.Categorical(values))


def labels(kind, pandas):
    polars = pytest.importorskip("polars") if kind == "Enum" else None
    return {
        "categorical": lambda: pandas.Categorical(NAMES, LEVELS),
        "one that lacks": lambda: pandas.Categorical(NAMES, ["none", *LEVELS]),
        "Enum": lambda: polars.Series(NAMES).cast(polars.Enum(LEVELS)),
    }[kind]()


@pytest.mark.parametrize("kind", ["categorical", "one that lacks", "Enum"])
def test_labels_are_numbered_in_the_order_of_their_own_categories(pandas, kind):
    """It was ignored: high was 0, low 1."""
    given = labels(kind, pandas)
    for data in ((np.column_stack([V, V]), given), (pandas.DataFrame({"age": V}), given), {"age": V, "label": given}):
        data, y = data if isinstance(data, tuple) else (data, None)
        records, schema = mia.records(data, y, notify=lambda line: None)
        assert schema.class_names == tuple(LEVELS)
        np.testing.assert_array_equal(records.y, V % 3)
        assert "Classes are numbered so: low is 0, mid is 1, high is 2." in schema.notes
    assert mia.records({"age": V, "label": pandas.Categorical(NAMES)}, notify=print)[1].class_names[0] == "high"


def test_answers_have_their_columns_in_the_order_of_the_categories(pandas):
    p = np.eye(3)[V % 3] * 0.5 + np.full((N, 3), 1 / 6)
    y = pandas.Series(pandas.Categorical(np.where(V % 3 == 1, "low", NAMES), LEVELS))  # nobody is mid
    said = []
    found = mia.audit(lambda x: p, np.zeros((N, 1)), y, Y == 0, attacks="loss", notify=said.append)
    by_number = mia.audit(lambda x: p, np.zeros((N, 1)), np.where(V % 3 == 2, 2, 0), Y == 0, attacks="loss")
    np.testing.assert_array_equal(found["loss"].scores, by_number["loss"].scores)
    assert any("low is 0, mid is 1, high is 2. The answers' columns must be in this order." in line for line in said)


def test_a_parquet_file_keeps_the_categories_of_a_frame(pandas, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"age": V, "c": pandas.Categorical(V % 5), "label": pandas.Categorical(NAMES, LEVELS)})
    frame.to_parquet(tmp_path / "mine.parquet")
    _, schema = mia.load(str(tmp_path / "mine.parquet"), notify=lambda line: None)
    assert field(schema).kind == "categorical" and schema.class_names == tuple(LEVELS)


# --- numbers that are written with something -------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["{} years", "{} kg", "{}.5kg", "0x{:x}", "-{} C", "{}°C", "{}/80"])
def test_numbers_with_units_are_told_from_categories(write):
    """Each became a category of its own, without a word."""
    values = [write.format(v) for v in V]
    _, schema, said = read(values)
    assert field(schema).kind == "categorical"
    assert "Column c: most of its values begin with a number (" in said and "`kinds=c:category`" in said
    assert "begin with a number" not in read(values, kinds={"c": "category"})[2]


@pytest.mark.parametrize("write", ["0{:04d}", "{0}-{0}", "a{}", "Q{}"])
def test_codes_ranges_and_words_are_categories(write):
    assert "begin with a number" not in read([write.format(v) for v in V])[2]


# --- identifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [2**60 + V, 2**60 + V * 10**9, 2**62 - V, RNG.integers(10**17, 10**18, N)])
def test_integers_that_no_float_holds_are_named(values, tmp_path):
    """In a .csv all of 2^60 + k are one number, and nothing was said."""
    told = "all numbers of column c are beyond 2^53"
    assert told in read(values)[2]
    lines = [f"{v},{c},{y}" for v, c, y in zip(V, values, Y, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["age,c,label", *lines]))
    _, schema = mia.load(str(tmp_path / "mine.csv"), notify=lambda line: None)
    assert told in " ".join(schema.notes) and "`kinds=c:drop`" in " ".join(schema.notes)
    np.savez(tmp_path / "mine.npz", x=np.column_stack([V, values]), y=Y)
    _, schema = mia.load(str(tmp_path / "mine.npz"), notify=lambda line: None)
    assert "all numbers of column 1 of x are beyond 2^53" in " ".join(schema.notes)


def test_large_measured_numbers_are_no_identifiers():
    assert (
        "beyond 2^53" not in read(RNG.lognormal(46, 1, N))[2] and "of its own" not in read(RNG.lognormal(46, 1, N))[2]
    )
    assert "beyond 2^53" not in read(1577836800000 + V * 86400000)[2]


def test_another_whole_number_in_each_record_is_said():
    """Only of columns that are called id, before."""
    told = "Column c has a value of its own in each record"
    assert told in read(RNG.permutation(10_000)[:N])[2] and told in read(RNG.permutation(N) * 7.0)[2]
    assert told not in read(RNG.normal(size=N))[2]
    few = {"age": V[:40], "c": RNG.permutation(10_000)[:40], "label": Y[:40]}
    assert told not in " ".join(mia.records(few, notify=lambda line: None)[1].notes)
    counts = {f"gene{k}": RNG.permutation(10_000)[:N] for k in range(5)}
    said = mia.records(counts | {"label": Y}, notify=lambda line: None)[1].notes
    assert "of its own" not in " ".join(said)


# --- words in several spellings, and what names no category ----------------------------------------------------------


@pytest.mark.parametrize("words", ["True TRUE false FALSE", "Yes no YES", "true 0 1 false", "T f t F"])
def test_words_for_true_and_false_are_read_in_any_case(words):
    """Those in mixed case were "said to be binary", and have 4 values; or categories."""
    words = words.split()
    values = np.array(words)[V % len(words)]
    true = np.isin(np.char.lower(values), ("true", "yes", "t", "1"))
    records, schema, said = read(values)
    assert field(schema).kind == "binary" and f"{words[0]} is 1" in said
    np.testing.assert_array_equal(records.x[:, 1], true)
    gaps = np.where(V % 7 == 0, "", values)
    _, schema, said = read(gaps)
    if "0" not in words:
        assert len(field(schema).categories) == 3 and "two categories" not in said
    if words[0] == "Yes":
        assert field(schema).categories == ("no", "yes", "(missing)") and "are read in any case" in said


def test_other_records_may_write_booleans_in_another_case(tmp_path):
    """A category `no` of mixed records is the No of others."""
    paths = [tmp_path / "mine.csv", tmp_path / "other.csv"]
    for path, words in zip(paths, (["Yes", "no", "YES", ""], ["No", "Yes", "", "no"]), strict=True):
        path.write_text("c,label\n" + "".join(f"{words[v % 4]},{y}\n" for v, y in zip(V, Y, strict=True)))
    schema = mia.load(paths[0], notify=lambda line: None)[1]
    records, _ = mia.load(paths[1], like=schema, notify=lambda line: None)
    assert schema.fields[0].categories == ("no", "yes", "(missing)")
    np.testing.assert_array_equal(records.x.argmax(axis=1), np.array([0, 1, 2, 0])[V % 4])


def test_codes_of_single_letters_are_no_booleans():
    assert field(read(np.array(["T", "F", "N"])[V % 3])[1]).kind == "categorical"


def test_categories_in_two_spellings_are_noted():
    """Labels had this note, features none."""
    said = read(np.array(["Köln", "köln", "Ulm"])[V % 3])[2]
    assert "Column c: Köln and köln are two categories, though their names differ by case" in said
    assert "two categories" not in read(NAMES)[2]


def test_numbers_with_units_or_words_for_none_are_no_identifiers():
    """Both were called "names, identifiers and sentences", and amounts of money categories."""
    weights = [f"{v / 10} kg" for v in range(N)]
    with pytest.raises(InputError, match=r"numbers with a unit \('0.0 kg', record 0; 'kg'\): write plain numbers, or"):
        read(weights)
    words = np.array(["missing", "N.A.", "unknown", ""])[np.arange(N) % 4]
    gaps = np.where(np.arange(N) % 7 < 4, words, (np.arange(N) / 8).astype(str))
    with pytest.raises(InputError, match=r"'missing'.*: leave these empty, which seem to stand for what is missing"):
        read(gaps)
    with pytest.raises(InputError, match="as names, identifiers and sentences are"):
        read([f"{v}{chr(97 + v % 26)}" for v in range(N)])
    with pytest.raises(InputError) as error:
        read([f"${v},000.50" for v in range(1, N + 1)])
    assert "categories" not in str(error.value) and "`kinds=c:drop`" in str(error.value)


def test_labels_among_the_features_are_noted_once():
    said = read(np.array(["no", "yes"])[Y])[2]
    assert said.count("learn nothing") == 1
    assert read(Y)[2].count("Column c is y itself") == 1


def test_a_column_of_numbers_that_stand_for_the_classes_is_noted_once():
    """Beside the label class (First, Second, Third) nothing was said of pclass (1, 2, 3)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = np.stack([np.array([7, 2, 5])[y], rng.integers(0, 3, 300), y // 2, y], axis=1)
    said = oddities.notes(x, y, names=("pclass", "sex", "third", "code"))
    assert [one for one in said if "learn nothing" in one] == [
        "Column code is y itself: models need to learn nothing; `kinds=code:drop` leaves it out."
    ]
    (one,) = (one for one in oddities.notes(x[:, :3], y) if "learn nothing" in one)
    assert one.startswith("Column 0 of x has one number for each class and no other: models need to learn nothing;")
    two = oddities.notes(np.stack([3 - 2 * (y > 0), y], axis=1), (y > 0).astype(int))
    assert len(two) == 1 and two[0].startswith("Column 0 of x has one number for each class")
    assert not oddities.notes(np.where(np.arange(300)[:, None] == 17, 9, x[:, :1]), y)  # not of every record
    assert not any("learn nothing" in one for one in oddities.notes(x[:50, :1], y[:50]))  # few may be so by chance


def test_names_with_spaces_and_line_breaks():
    records, schema = mia.records(
        {"age": V, "c": np.array(["a\nb", "d"])[V % 2], " label ": Y}, notify=lambda line: None
    )
    assert records.y.tolist() == Y.tolist() and len(str(schema).split("\n")) == 3 + len(schema.notes)
