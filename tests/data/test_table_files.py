"""Tables in files: the right records and a sentence, or one line that names the line, the column or the next move."""

import re

import numpy as np
import pytest

from mia_jax import data
from mia_jax.audits.deployed import records as deployed
from mia_jax.data import table_files
from mia_jax.types import InputError

N = 40
AGE = np.arange(N) * 7 % 83 + 0.5
TOWN = np.array(["Ulm", "Köln", "Kiel"])[np.arange(N) % 3]
LABEL = np.arange(N) % 2
ROWS = [*zip(AGE, TOWN, LABEL, strict=True)]


def csv(rows=ROWS, names="age,town,label", separator=",", end="\n", head=True):
    lines = [names.replace(",", separator)] if head else []
    return end.join([*lines, *(separator.join(map(str, row)) for row in rows)]) + end


def write(tmp_path, content, name="mine.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def read(path, **more):
    said = []
    records, schema = data.load(path, notify=said.append, **more)
    assert said == list(schema.notes)
    return records, schema, " ".join(said)


def check(path, told="", **more):
    records, schema, said = read(path, **more)
    assert [f.name for f in schema.fields][-2:] == ["age", "town"]
    assert schema.fields[-1].categories == ("Kiel", "Köln", "Ulm")
    np.testing.assert_array_equal(records.x[:, -4], AGE.astype(np.float32))
    np.testing.assert_array_equal(records.y, LABEL)
    assert re.search(told, said)


def refused(path, **more):
    with pytest.raises(InputError) as error:
        data.load(path, **more)
    assert "\n" not in str(error.value) and path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "encoding", "told"),
    [
        (csv(), "utf-8", ""),
        (csv(end="\r\n"), "utf-8-sig", ""),
        (csv(separator=";"), "utf-8", "separated by ';'"),
        (csv(separator="\t"), "utf-8", "separated by tabs"),
        (csv(separator="|"), "utf-8", "separated by '|'"),
        (csv(separator=" "), "utf-8", "separated by spaces"),
        (csv(separator=", "), "utf-8", ""),
        (csv(), "cp1252", "not UTF-8, and is read as cp1252"),
        (csv(), "utf-16", "read as utf-16"),
        (csv(), "utf-16-le", "read as utf-16-le"),
        (csv(), "utf-16-be", "read as utf-16-be"),
        (csv(), "utf-32", "read as utf-32"),
        (csv().replace("\n", "\n\n"), "utf-8", ""),
        (csv().replace("age,", "# age,"), "utf-8", ""),
        (csv(separator=";").replace(".5;", ",5;"), "utf-8", "A comma is the decimal point in age"),
        (csv([(k, *row) for k, row in enumerate(ROWS)], ",age,town,label"), "utf-8", "the index of the table"),
        (csv([(k, *row) for k, row in enumerate(ROWS)], "Unnamed: 0,age,town,label"), "utf-8", "the index of"),
        (
            csv([(3 * k % N + 1, *row) for k, row in enumerate(ROWS)], "Unnamed: 0,age,town,label"),
            "utf-8",
            "in another order, as of a table that was shuffled",
        ),
        (csv([(f"r{k}", *row) for k, row in enumerate(ROWS)]), "utf-8", "first value of each line, which has no name"),
        (csv([(*row, "") for row in ROWS], "age,town,label,"), "utf-8", "a column without name or values"),
        (csv([(*row, "") for row in ROWS]), "utf-8", "the last value of each line, which is empty and has no name"),
        (csv([(*row, "") for row in ROWS], "age,town,label,notes"), "utf-8", "Left out: notes, without a value"),
        (csv([(a, f'"{t}"', y) for a, t, y in ROWS], '"age","town","label"'), "utf-8", ""),
    ],
)
def test_the_same_records_however_they_are_written(tmp_path, content, encoding, told):
    check(write(tmp_path, content, encoding=encoding), told)


CITIES = {
    "cp932": ("東京タワー", "なごや", "おおさか"),
    "euc_jp": ("東京タワー", "なごや", "おおさか"),
    "cp1252": ("Málaga", "Øster Søgade", "Genève – Rive"),
    "latin-1": ("São João", "Ångström", "Curaçao"),
}
REFUSED = {
    "cp1251": ("Москва", "Тула", "Омск"),
    "koi8-r": ("Москва", "Тула", "Омск"),
    "cp1253": ("Αθήνα", "Πάτρα", "Βόλος"),
    "cp1250": ("Łódź", "Białystok", "Gdańsk"),
    "gb18030": ("北京", "上海", "广州"),
    "big5": ("臺北", "高雄", "臺中"),
    "euc_kr": ("서울", "부산", "대구"),
    "mac_roman": ("Zürich", "Málaga", "Köln"),
}


@pytest.mark.parametrize("encoding", CITIES)
def test_text_that_is_not_utf_8_is_read_where_its_bytes_leave_no_doubt(tmp_path, encoding):
    """Japanese was read as if it were Western: categories of other letters."""
    towns = CITIES[encoding]
    path = write(tmp_path, csv([(a, towns[k % 3], y) for k, (a, _, y) in enumerate(ROWS)]), encoding=encoding)
    schema, said = read(path)[1:]
    assert schema.fields[-1].categories == tuple(sorted(towns)) and encoding.replace("latin-1", "cp1252") in said


@pytest.mark.parametrize("encoding", REFUSED)
def test_text_whose_bytes_may_be_anything_is_refused(tmp_path, encoding):
    """It was read as cp1252, whatever it was."""
    rows = [(a, REFUSED[encoding][k % 3], y) for k, (a, _, y) in enumerate(ROWS)]
    assert "iconv -f ENCODING -t UTF-8 mine.csv" in refused(write(tmp_path, csv(rows), encoding=encoding))


def test_two_encodings_in_one_file_are_refused(tmp_path):
    both = csv().encode() + csv(head=False).encode("cp1252")
    assert "a part of it is UTF-8 and another is not" in refused(write(tmp_path, both))
    assert "bytes that are zero" in refused(write(tmp_path, b"a,label\n1,0\0\n2,1\n" * 9, "zero.csv"))


def test_kinds_of_files(tmp_path):
    check(write(tmp_path, csv(separator="\t"), "mine.tsv"))
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": AGE, "town": pandas.Categorical(TOWN), "label": LABEL})
    frame.to_parquet(tmp_path / "mine.parquet")
    check(tmp_path / "mine.parquet")
    frame.set_index(np.array([f"r{k}" for k in range(N)])).to_parquet(tmp_path / "index.parquet")
    check(tmp_path / "index.parquet", "the index of the data frame")


def test_a_file_without_names(tmp_path):
    path = write(tmp_path, csv(head=False))
    assert "columns are called by their numbers; give `label=COLUMN`, one of 0, 1, 2" in refused(path)
    for label in ("2", "-1"):
        records, schema, said = read(path, label=label)
        assert records.y.tolist() == LABEL.tolist() and [f.name for f in schema.fields] == ["0", "1"]
        assert "columns are called by their number, from 0" in said
    digits = write(tmp_path, csv([(k % 3, k % 5, k % 2) for k in range(N)], "0,1,label"), "digits.csv")  # pandas' names
    assert [f.name for f in read(digits)[1].fields] == ["0", "1"]


def test_missing_values_and_codes_far_down_in_a_large_file(tmp_path):
    """What a block of rows looks like does not decide what a column is."""
    n = 2 * table_files._BLOCK + 10
    number, code = [f"{k % 90}" for k in range(n)], [f"{k % 50 + 10}" for k in range(n)]
    number[-3], code[-1] = "NA", "01"
    rows = [*zip(number, code, np.arange(n) % 2, strict=True)]
    records, schema, said = read(write(tmp_path, csv(rows, "a,zip,class")))
    assert [f.kind for f in schema.fields] == ["numeric", "categorical"]
    assert schema.fields[1].categories[:2] == ("01", "10") and len(schema.fields[1].categories) == 51
    assert np.argwhere(np.isnan(records.x)).tolist() == [[n - 3, 0]] and "Missing numbers (NaN): a 1." in said
    assert records.x[:, 0][:91].tolist() == [k % 90 for k in range(91)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty"),
        ("age,label\n", "a line of names and no records"),
        (
            csv([*ROWS[:5], (1, 2, 3, 4), *ROWS[5:]]),
            "line 7 has 4 values, and the line of names 3",
        ),
        (csv([*ROWS[:5], (1,), *ROWS[5:]]), "line 7 has 1 values"),
        (csv(names="age,age,label"), "two columns are called age"),
        (csv(names="age,,label"), "column 1 has no name"),
        (csv(names="age,town,buys"), "none of its columns is called label, target, class or y"),
        (csv([("2020-01-01", *row[1:]) for row in ROWS]), r"column age holds dates or times \(2020-01-01\)"),
        (
            csv([(a, f"x{k}", y) for k, (a, _, y) in enumerate(ROWS)]),
            "town has 40 different texts in 40 records",
        ),
        (csv([(a, t, "") for a, t, y in ROWS]), r"no label of record 0 and 39 others.*\(the column label\)"),
        (csv([(a, t, 1) for a, t, y in ROWS]), "the column label has a single class"),
        (csv([(a, t, a) for a, t, y in ROWS]), "regression"),
        (csv([("inf", t, y) for a, t, y in ROWS]), "column age is inf in record 0"),
        (csv([*ROWS, ("seven", "Ulm", 1)]), "column age holds numbers, but 'seven' in record 40 is none"),
        (b"PK\x03\x04" + b"\0" * 100, "as a workbook of Excel is"),
        (b"age,label\n\0\0", "it is no text"),
        ("My table\n\n" + csv(), "leave out what is above the names"),
        (csv([("10:30", *row[1:]) for row in ROWS]), r"column age holds dates or times \(10:30\)"),
        (b"PAR1" + b"a" * 100, "call it .parquet"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(tmp_path, content, told):
    assert re.search(told, refused(write(tmp_path, content)))


def test_files_of_other_kinds_are_refused_with_what_makes_tables_of_them(tmp_path):
    moves = {
        "mine.xlsx": "read_excel",
        "mine.csv.gz": "unpack",
        "mine.json": "read_json(path)",
        "mine.jsonl": "lines=True",
        "a.npy": "np.savez",
    }
    for name, told in moves.items():
        assert told in refused(write(tmp_path, csv(), name))
    assert "there is no file" in refused(tmp_path / "nothing.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.csv")
    np.savez(tmp_path / "mine.npz", x=np.eye(4), y=[0, 1, 0, 1])
    assert "leave `label` and `kinds` out" in refused(tmp_path / "mine.npz", label="y")
    assert "no parquet file, or damaged" in refused(write(tmp_path, b"PAR1 and nothing", "mine.parquet"))


def test_records_to_ask_about_say_who_is_a_member(tmp_path):
    for words in ((True, False), (1, 0), ("yes", "no")):
        rows = [(*row, words[k % 4 > 0]) for k, row in enumerate(ROWS)]
        path = write(tmp_path, csv(rows, "age,town,label,Member"))
        question = deployed.load_question(path)
        assert question.member.tolist() == [k % 4 == 0 for k in range(N)]
        assert question.sent.shape == (N, 4) and question.schema.num_classes == 2
        assert "member is not used" in read(path)[2]
    rows = [(*row, "maybe") for row in ROWS]
    with pytest.raises(InputError, match="record 0 has 'maybe' in the column member; needed: 1 where"):
        deployed.load_question(write(tmp_path, csv(rows, "age,town,label,member")))
    rows = [(*row, ("train", "test")[k % 2]) for k, row in enumerate(ROWS)]
    with pytest.raises(
        InputError, match=r"""'train' in the column.*has "test" 20 times .*df\['member'\] == "train\""""
    ):
        deployed.load_question(write(tmp_path, csv(rows, "age,town,label,member")))
    with pytest.raises(InputError, match="column age lacks a value in record 0, and a model that is asked"):
        deployed.load_question(write(tmp_path, csv([("", *ROWS[0][1:]), *ROWS[1:]])))
    gaps = csv([(a, t, 3 * y) for a, t, y in ROWS])
    assert deployed.load_question(write(tmp_path, gaps)).schema.num_classes == 4  # the target knows the other two
    named = csv([(a, t, ("setosa", "virginica")[y]) for a, t, y in ROWS])
    question = deployed.load_question(write(tmp_path, named), class_names=("virginica", "versicolor", "setosa"))
    assert question.records.y.tolist() == [2, 0] * (N // 2) and question.schema.num_classes == 3


def test_other_records_are_read_as_those_asked_about(tmp_path):
    schema = read(write(tmp_path, csv()))[1]
    fewer = [row for row in ROWS if row[1] != "Kiel"]
    other = write(tmp_path, csv([(t, "a", y, a) for a, t, y in fewer], "town,more,label,age"), "other.csv")
    records, found, said = read(other, like=schema)
    assert [f.name for f in found.fields] == ["age", "town"] and found.fields[1].categories == ("Kiel", "Köln", "Ulm")
    np.testing.assert_array_equal(records.x[:, 0], np.float32([a for a, *_ in fewer]))
    assert records.x[:, 1].sum() == 0 and "Left out: more, not among the other columns." in said
    unknown = write(tmp_path, csv([(a, "Bonn", y) for a, t, y in ROWS]), "unknown.csv")
    with pytest.raises(InputError, match="column town has 'Bonn' in record 0, which is not among the categories"):
        data.load(unknown, like=schema)
    lacking = write(tmp_path, csv(names="age,city,label"), "lacking.csv")
    with pytest.raises(InputError, match="it has no column town, which the other records have"):
        data.load(lacking, like=schema)


def test_one_hot_labels_are_several_columns(tmp_path):
    rows = [(a, y == 0, y == 1) for a, _, y in ROWS]
    records, schema, said = read(write(tmp_path, csv(rows, "age,cat,dog")), label="cat,dog")
    assert records.y.tolist() == LABEL.tolist() and schema.class_names == ("cat", "dog") and "one-hot" in said
    assert "are no one-hot code of the label" in refused(tmp_path / "mine.csv", label="age,dog")


def test_numbers_that_are_classes_after_all(tmp_path):
    rows = [(*row[:2], 40 - k // 2) for k, row in enumerate(ROWS * 2)]
    assert "`kinds=label:category` says that they are classes" in refused(write(tmp_path, csv(rows)))
    records, schema, _ = read(tmp_path / "mine.csv", kinds="label:category")
    assert schema.class_names[:2] == ("1", "2") and records.y[0] == 39


def test_points_that_separate_thousands(tmp_path):
    """1.100 is 1100 where the comma is seen to be the decimal point, 1.1 where the point is; else it is refused."""
    rows = [(f"{k}.{100 + k}", f"{k},5", "cd"[k % 2]) for k in range(1, 30)]
    german = csv(rows, "count,share,label", ";")
    records, _, said = read(write(tmp_path, german))
    np.testing.assert_array_equal(records.x[:3], [[1101, 1.5], [2102, 2.5], [3103, 3.5]])
    assert "thousands in count" in said and "decimal point in share" in said
    large = [
        ("1.100.000" if k == 7 else "57" if k == 5 else f"{k}.100", f"{k}.100,5", "cd"[k % 2]) for k in range(1, 30)
    ]
    records, _, said = read(write(tmp_path, csv(large, "count,share,label", "\t"), "mine.tsv"))
    np.testing.assert_array_equal(records.x[[0, 4, 6]], [[1100, 1100.5], [57, 5100.5], [1.1e6, 7100.5]])
    records, _, said = read(write(tmp_path, german.replace(",", ".")))
    np.testing.assert_array_equal(records.x[:2], np.float32([[1.101, 1.5], [2.102, 2.5]]))
    assert "thousands" not in said
    american = [(f"{k},{100 + k}", f"{k}.5", "cd"[k % 2]) for k in range(1, 30)]
    records, _, said = read(write(tmp_path, csv(american, "count,share,label", ";")))
    np.testing.assert_array_equal(records.x[:2], [[1101, 1.5], [2102, 2.5]])
    assert "comma separates thousands in count" in said and "decimal" not in said
    both = [(*row[:2], k + 0.25, row[2]) for k, row in enumerate(rows)]
    assert "column count" in refused(write(tmp_path, csv(both, "count,share,pay,label", ";")))
    told = refused(write(tmp_path, german.replace(",5", "")))
    assert "column count" in told and "thousands='.'" in told


@pytest.mark.parametrize("separator", [",", "\t"])
def test_points_beside_whole_numbers_below_a_thousand_are_no_decimals(tmp_path, separator):
    """1.234 was read as 1.234 beside 987, and 1.100.000 as text, without a word: no program writes decimals so."""

    def told(*values, more=""):
        rows = [(value, *more[k : k + 1], "cd"[k % 2]) for k, value in enumerate(values)]
        names = "count,more,label" if more else "count,label"
        return write(tmp_path, csv(rows, names, separator), "mine.tsv" if separator == "\t" else "mine.csv")

    mixed = [f"{k}.{100 + k}" if k % 2 else str(30 * k) for k in range(1, 30)]
    assert "column count has numbers as 1.100" in refused(told(*mixed))
    records, _, said = read(told(*mixed[:-1], "1.100.000"))
    np.testing.assert_array_equal(records.x[[0, 1, 28], 0], [1101, 60, 1.1e6])
    assert "A point separates thousands in count" in said
    for values in (
        [f"{k}.{100 + k}" for k in range(1, 30)],  # all have a point
        [f"{k}.5" if k % 2 else str(k) for k in range(1, 30)],
        [f"0.{100 + k}" if k % 2 else str(k) for k in range(1, 30)],
        [f"{k}.125" if k < 4 else str(k) for k in range(1, 30)],  # few have one
        [f"{k}.{100 + k}" if k % 2 else str(1000 + k) for k in range(1, 30)],
    ):
        np.testing.assert_allclose(read(told(*values))[0].x[:, 0], [*map(float, values)], rtol=1e-6)
    read(told(*mixed, more=[str(k + 0.25) for k in range(29)]))  # where the point is seen to be the decimal point


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("names", ["length,width,label", "length,town,label", "length,label"])
def test_a_table_in_which_every_number_has_a_decimal_comma(tmp_path, names, separator):
    """As to_csv(sep=";", decimal=",", index=False) writes one: the line of names has no comma, every other has some."""
    columns = names.split(",")
    values = {"length": lambda k: f"{4 + k % 3},{k % 10}", "width": lambda k: f"{k},5", "town": lambda k: "UB"[k % 2]}
    rows = [(*(values[name](k) for name in columns[:-1]), "cd"[k // 2 % 2]) for k in range(30)]
    for top in ("", f"sep={separator}\n"):
        records, _, said = read(write(tmp_path, top + csv(rows, names, separator)))
        np.testing.assert_array_equal(records.x[:, 0], np.float32([4 + k % 3 + k % 10 / 10 for k in range(30)]))
        assert "comma is the decimal point in length" in said


def test_quoted_thousands_are_no_row_of_units(tmp_path):
    rows = [("UB"[k % 2], f'"1,{100 + k}"', "cd"[k // 2 % 2]) for k in range(30)]
    assert "units" not in refused(write(tmp_path, csv(rows, "town,amount,label")))


def test_what_excel_writes_on_top(tmp_path):
    check(write(tmp_path, "sep=;\r\n" + csv(separator=";", end="\r\n")), "separated by ';'")
    check(write(tmp_path, "sep=,\n" + csv()))


def test_line_ends_of_an_old_mac(tmp_path):
    check(write(tmp_path, csv(end="\r")))


def test_no_error_of_the_reader_escapes(tmp_path):
    assert "cannot be read" in refused(write(tmp_path, csv() + "1," + "x" * (1 << 21) + ",0\n"))
    assert "cannot be read" in refused(write(tmp_path, "a,label\n1," + "x" * (1 << 21) + "\n"))


@pytest.mark.parametrize("units", ["years,,-", "years,name,class"])
def test_units_and_comments_are_named(tmp_path, units):
    lines = csv().split("\n", 1)
    assert "units" in refused(write(tmp_path, f"{lines[0]}\n{units}\n{lines[1]}"))
    assert "'# exported 2024'" in refused(write(tmp_path, "# exported 2024\n" + csv()))
    assert "comment or a title" in refused(write(tmp_path, "Sales\n" + csv([row[1:] for row in ROWS], "town,label")))


def test_text_that_ends_in_a_character_of_zero(tmp_path):
    """Text of NumPy loses it, and a class would not be found again."""
    content = csv([(*row[:2], f"{row[2]} class\0") for row in ROWS])
    assert read(write(tmp_path, content, encoding="utf-16"))[1].class_names == ("0 class", "1 class")


def test_names_of_the_classes_among_the_features_are_noted(tmp_path):
    """A column of words that is the label in other letters makes any model right, and was read without a word."""
    rows = [(age, town, ("no", "yes")[label], label) for age, town, label in ROWS]
    named, plain = write(tmp_path, csv(rows, "age,town,answer,label"), "named.csv"), write(tmp_path, csv())
    notes = [" ".join(data.load(path)[1].notes) for path in (named, plain)]
    assert "Column answer has one value for each class" in notes[0]
    assert "one value for each class" not in notes[1]
