"""Tables with something in them that is no record of theirs: words among numbers, lines of names, leaking columns."""

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
