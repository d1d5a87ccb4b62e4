"""Tables with something in them that is no record of theirs: words among numbers, lines of names, leaking columns."""

import json

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.types import InputError

N = 60
COLUMN = {  # a column of a German file
    "measured": [f"{20 + k / 7:.2f}".replace(".", ",") for k in range(N)],
    "few": [f"{20 + k % 9},5" for k in range(N)],
    "thousands": [f"1.{100 + k},5" for k in range(N)],
}


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def load(path, **more):
    return mia.load(path, notify=lambda line: None, **more)


def refused(path, **more):
    with pytest.raises(InputError) as told:
        load(path, **more)
    return str(told.value)


# --- decimal commas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["ERR", "#DIV/0!"])
@pytest.mark.parametrize("column", COLUMN)
def test_a_word_among_numbers_with_decimal_commas_is_named(tmp_path, column, word):
    """The column was taken for text: "different texts, as names", or a category for each number."""
    values = [word if k == 37 else value for k, value in enumerate(COLUMN[column])]
    rows = [f"{value};{k % 7};{k % 2}" for k, value in enumerate(values)]
    told = refused(write(tmp_path / "mine.csv", ["temp;hum;label", *rows]))
    assert f"column temp holds numbers, but '{word}' in record 37 is none" in told and "line 39" in told
    mended = [row.replace(word, "") for row in rows]
    records, schema = load(write(tmp_path / "mine.csv", ["temp;hum;label", *mended]))
    assert schema.fields[0].kind == "numeric" and np.isnan(records.x[37, 0])
    read = [float(value.replace(".", "").replace(",", ".")) for value in COLUMN[column]]
    np.testing.assert_allclose(np.delete(records.x[:, 0], 37), np.delete(read, 37), rtol=1e-6)


def test_words_for_what_is_missing_among_decimal_commas(tmp_path):
    rows = [f"{'k.A.' if k % 3 == 0 else f'{20 + k},5'};{k % 2}" for k in range(N)]
    told = refused(write(tmp_path / "mine.csv", ["temp;label", *rows]))
    assert "column temp holds numbers in 40 of 60 records, and 20 times 'k.A.': leave these empty" in told


def test_text_with_commas_stays_text(tmp_path):
    rows = [f"{['1,2', '2,3 und 4', 'keine'][k % 3]};{k % 7};{k % 2}" for k in range(N)]
    _, schema = load(write(tmp_path / "mine.csv", ["which;hum;label", *rows]))
    assert schema.fields[0].categories == ("1,2", "2,3 und 4", "keine")


# --- lines that are no records ---------------------------------------------------------------------------------------


def test_the_line_of_names_in_the_middle_is_refused(tmp_path):
    """Files that were joined: its words became a category in each column, and a class."""
    names, rows = "color,shape,label", ["red,sq,u", "blue,ci,v"] * 15
    told = refused(write(tmp_path / "mine.csv", [names, *rows, names, *rows]))
    assert "line 32 is the line of names again, as where files were joined: delete such lines" in told
    assert len(load(write(tmp_path / "mine.csv", [names, *rows, *rows]))[0].y) == 60


QUESTIONS = "How old?,Where?,Satisfied?"
IDS = ",".join(f'"{{""ImportId"":""QID{k}""}}"' for k in range(3))


@pytest.mark.parametrize(("top", "end", "told"), [
    ([QUESTIONS], [], "Class 'Satisfied?' (record 0, line 2) has one record: if it is a line of another kind"),
    ([QUESTIONS, IDS], [], "Classes 'Satisfied?' (record 0, line 2), '{\"ImportId\":\"QID2\"}' (record 1, line 3)"),
    ([], ["all,all,Total"], "Class 'Total' (record 60, line 62) has one record"),
])  # fmt: skip
def test_classes_of_one_record_are_named_with_their_lines(tmp_path, top, end, told):
    rows = [f"{['18-24', '25-34', '35+'][k % 3]},{['N', 'S'][k % 2]},{['no', 'yes'][k // 2 % 2]}" for k in range(N)]
    notes = " ".join(load(write(tmp_path / "mine.csv", ["Q1,Q2,label", *top, *rows, *end]))[1].notes)
    assert told in notes
    assert "one record" not in " ".join(load(write(tmp_path / "mine.csv", ["Q1,Q2,label", *rows]))[1].notes)


def test_classes_of_one_record_at_the_other_entrances(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 3)), np.arange(N) % 2
    told = "Class '60' (record 7) has one record"
    assert told in " ".join(mia.records(x, np.where(np.arange(N) == 7, 60, y), notify=lambda line: None)[1].notes)
    few = np.where(np.arange(N) == 7, 2, y)
    np.savez(tmp_path / "mine.npz", x=x, y=few)
    assert "Class '2' (record 7) has one record" in " ".join(load(tmp_path / "mine.npz")[1].notes)
    words = np.where(np.arange(N) == 7, "Total", np.array(["a", "b"])[y])
    with pytest.raises(InputError, match=r"the answers have 2 columns: .*; class 'Total' \(record 7\) has one record"):
        mia.audit(np.full((N, 2), 0.5), x, words, y == 0, attacks="loss")
    with pytest.raises(InputError, match=r"the largest is 60, .*; class '60' \(record 7\) has one record"):
        mia.audit(np.full((N, 2), 0.5), x, np.where(np.arange(N) == 7, 60, y), y == 0, attacks="loss")
    small = np.where(np.arange(N) == 7, 30, np.arange(N) % 8)  # the others have seven or eight
    assert "one record" not in " ".join(mia.records(x, small, notify=lambda line: None)[1].notes)


# --- texts, and lists in .json ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [None, "also:drop"])
def test_a_table_of_texts_alone_is_not_told_to_drop_them(tmp_path, kinds):
    """`kinds=text:drop` left no column, and category made one for each record."""
    also = ",also" if kinds else ""
    rows = [f"film {k} was good{f',{k}' if kinds else ''},{k % 2}" for k in range(N)]
    told = refused(write(tmp_path / "mine.csv", [f"text{also},label", *rows]), kinds=kinds)
    assert "mia_jax.audit(model, frame['text'], y, member, ...)" in told and "drop" not in told
    pandas = pytest.importorskip("pandas")
    frame, member = pandas.read_csv(tmp_path / "mine.csv"), np.arange(N) < N // 2
    p = np.full((N, 2), 0.5)
    assert mia.audit(lambda x: p, frame["text"], frame["label"], member, attacks="loss")["loss"].auc.value == 0.5
    from sklearn.feature_extraction.text import TfidfVectorizer

    x = TfidfVectorizer().fit_transform(frame["text"]).toarray()
    assert mia.records(x, frame["label"], notify=lambda line: None)[0].x.shape[0] == N


def test_two_columns_of_texts_and_one_of_numbers(tmp_path):
    rows = [f"film {k} was good,by {k}a,{k % 2}" for k in range(N)]
    assert "drop" not in refused(write(tmp_path / "mine.csv", ["text,who,label", *rows]))
    rows = [f"film {k} was good,{k % 7},{k % 2}" for k in range(N)]
    assert "`kinds=text:drop`" in refused(write(tmp_path / "mine.csv", ["text,hum,label", *rows]))
    assert load(tmp_path / "mine.csv", kinds="text:drop")[0].x.shape == (N, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the line leaves a file open
def test_both_moves_for_a_json_work(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    x, y = [[1.5 * k, 2.0 * (k % 5), k % 3] for k in range(N)], [k % 2 for k in range(N)]
    (tmp_path / "lists.json").write_text(json.dumps({"x": x, "y": y}))
    rows = [{"a": row[0], "b": row[1], "label": k} for row, k in zip(x, y, strict=True)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    told = refused(tmp_path / "lists.json")
    table, _, lists = told.partition("is not read: ")[2].partition(", of lists x and y ")
    monkeypatch.chdir(tmp_path)
    for move, path in ((table, "rows.json"), (lists, "lists.json")):
        exec(move, {"pandas": pandas, "np": np, "json": json, "path": path})
    np.testing.assert_array_equal(load(tmp_path / "mine.npz")[0].x, np.float32(x))
    assert load(tmp_path / "mine.csv")[0].x.shape == (N, 2)


# --- one-hot codes ---------------------------------------------------------------------------------------------------

KIND = np.random.default_rng(0).integers(3, size=N)
CODE = ["is_cat", "is_dog", "is_eel"]


def coded(without=()):
    hot = np.eye(3, dtype=int)[KIND]
    hot[list(without)] = 0
    return {"a": np.random.default_rng(1).normal(size=N), **dict(zip(CODE, hot.T, strict=True))}


def records(data, *more, **how):
    return mia.records(data, *more, notify=lambda line: None, **how)


def test_a_record_without_a_label_is_to_be_left_out():
    """ "record 7 has 0 labels at once: audit one label at a time"."""
    data = coded([7, 9])
    with pytest.raises(InputError, match=r"record 7 has no label \(0 in each column; 2 such\): leave it out"):
        records(data, label=CODE)
    y = np.stack([data[name] for name in CODE], axis=1)
    keep = y.sum(axis=1) == 1
    assert len(records({name: column[keep] for name, column in data.items()}, label=CODE)[0].y) == N - 2


@pytest.mark.parametrize("without", [(), (7, 9)])
def test_the_rest_of_a_one_hot_code_tells_the_label(without):
    move = "`kinds=is_dog:drop,is_eel:drop`"
    said = " ".join(records(coded(without), label="is_cat")[1].notes)
    assert "Of the columns is_dog, is_eel and the label a record has one 1 at most" in said and move in said
    left = records(coded(without), label="is_cat", kinds=move[1:-1].removeprefix("kinds="))[1]
    assert "one-hot" not in " ".join(left.notes) and len(left.fields) == 1


def test_the_code_of_several_classes_tells_them():
    said = " ".join(records({**coded(), "label": np.array(["cat", "dog", "eel"])[KIND]})[1].notes)
    assert (
        "Of the columns is_cat, is_dog, is_eel each is 1 for one class and 0 for the others, which tells the label"
        in said
    )
    x = np.stack([np.arange(N) % 7, KIND == 1, KIND == 2], axis=1)
    said = " ".join(records(x, (KIND == 0).astype(int))[1].notes)
    assert (
        "Of the columns 1, 2 and the label a record has one 1 at most" in said
        and "np.delete(x, [1, 2], axis=1)" in said
    )


def test_columns_that_exclude_nothing_are_not_named():
    rng = np.random.default_rng(2)
    data = {f"is_{k}": rng.integers(2, size=N) for k in range(5)} | {"is_label": rng.integers(2, size=N)}
    assert "the label" not in " ".join(records(data, label="is_label")[1].notes)
    rare = {f"is_{k}": (np.arange(N) == k).astype(int) for k in range(4)}  # few records: exclusive by chance
    assert "the label" not in " ".join(records({**rare, "is_label": np.arange(N) // 30}, label="is_label")[1].notes)
    words = {"age": [f"{20 + k % 30} J." for k in range(N)], "label": np.arange(N) % 2}  # a category for each number
    assert "the label" not in " ".join(records(words)[1].notes)


@pytest.mark.parametrize("code", [999, -9999, 99])
def test_nines_far_beyond_what_else_is_in_a_column_are_noted(code):
    """999 in 2 % of nine columns took LiRA of a network to one half, for all else was scaled to nothing."""
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    y = np.arange(300) % 2
    assert not any("stands for" in note for note in mia.records(x, y, notify=lambda line: None)[1].notes)
    x[::40, 1:] = code
    [said] = [note for note in mia.records(x, y, notify=lambda line: None)[1].notes if "stands for" in note]
    assert said.startswith(f"Column 1 of x has {code} in 8 records") and "(so have 1 other columns)" in said
    ages = np.random.default_rng(1).integers(18, 99, (300, 1)) + 0.0  # of which 99 is one
    ages[:5] = 99
    assert not any("stands for" in note for note in mia.records(ages, y, notify=lambda line: None)[1].notes)
