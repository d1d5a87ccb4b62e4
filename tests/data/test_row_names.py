"""Lines with one value more than there are names: row names are left out, values that were split are refused."""

import numpy as np
import pytest

from mia_jax import data
from mia_jax.types import InputError

N = 60
V = np.random.default_rng(0).permutation(N)


def load(tmp_path, names, lines):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([names, *lines]) + "\n")
    return data.load(path)


@pytest.mark.parametrize("name", ["{k}", '"{v}"', "r{v}", '"Mazda {v}"', "{v}"])
def test_row_names_are_left_out(tmp_path, name):
    lines = [f"{name.format(k=k, v=v + 7)},{v / 4},{v % 2}" for k, v in enumerate(V)]
    records, schema = load(tmp_path, "age,label", lines)
    assert records.x[:, 0].tolist() == (V / 4).tolist()
    assert "Left out: the first value of each line, which has no name." in schema.notes


SPLIT = {  # names, a line, and what tells that it is split: each was shifted by a column, and called row names
    "decimal comma": ("temp,label", "{t},{d},{y}", "they repeat ('36' 15 times)"),
    "decimal comma, once each": ("pay,label", "{v},50,{y}", "numbers with a decimal comma"),
    "decimal comma below 0": ("pay,label", "-{v}1,x,{y}", "numbers with a decimal comma"),
    "comma in text": ("town,age,label", "Köln, DE,{v},{y}", "they repeat ('Köln' 60 times)"),
    "comma in text, once each": ("town,age,label", "n{v}, DE,{v},{y}", "a space follows one of the separators"),
    "single quotes": ("town,age,label", "'n{v},DE',{v},{y}", "they begin with a quotation mark"),
    "a gap": ("pay,label", ",{v},{y}", "one is missing"),
}


@pytest.mark.parametrize("name", SPLIT)
def test_values_that_were_split_are_refused(tmp_path, name):
    names, line, told = SPLIT[name]
    lines = [line.format(v=v + 1, t=36 + v % 4, d=v % 10, y=v % 2) for v in V]
    with pytest.raises(InputError) as error:
        load(tmp_path, names, lines)
    count = len(lines[0].split(","))
    start = f"line 2 has {count} values ('{lines[0]}')".replace("''n", "\"'n")[:24]
    assert start in str(error.value) and f"the line of names {count - 1}, and the first values" in str(error.value)
    assert told in str(error.value) and "put quotes" in str(error.value) and "decimal points" in str(error.value)


def test_a_separator_at_the_end_of_each_line_shifts_no_name(tmp_path):
    with pytest.raises(InputError, match=r"column pay has numbers as 1\.100, "):
        load(tmp_path, "pay;age;label", [f"1.{v % 7}00;{v};{v % 2};" for v in V])
    records, _ = load(tmp_path, "pay;age;label", [f"{v}.5;{v};{v % 2};" for v in V])
    assert (records.x[:, 1] == V).all() and (records.y == V % 2).all()


def test_a_record_that_is_refused_is_named_by_its_line(tmp_path):
    lines = [f"{v},{v % 2}" for v in V]
    with pytest.raises(InputError, match=r"no label of record 40.*\(record 40 is in line 43 of the file\)"):
        load(tmp_path, "age,label", [*lines[:9], "", *lines[9:40], "7,", *lines[41:]])
    with pytest.raises(InputError, match=r"'forty' in record 40 is none.*\(record 40 is in line 42 of the file\)"):
        load(tmp_path, "age,label", [*lines[:40], "forty,1", *lines[41:]])
