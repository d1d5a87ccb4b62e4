"""Anybody's own .npz, and what ``save`` writes."""

import json
import pathlib
import re

import numpy as np
import pytest
from archives import bits, cycle, npz

from mia_jax import data
from mia_jax.reports import results, words
from mia_jax.storage.artifacts import array_digest
from mia_jax.types import Field, InputError, Records, Schema


def own(tmp_path, **arrays) -> pathlib.Path:
    (tmp_path / "own.npz").write_bytes(npz(**arrays))
    return tmp_path / "own.npz"


def test_local_fields_are_inferred(tmp_path):
    y = cycle(12, 3).astype(np.int64)
    for x in (bits(12, 5), bits(12, 5).astype(bool), bits(12, 5).astype(float)):
        records, schema = data.load(own(tmp_path, x=x, y=y))
        assert schema.fields == (Field("bits", "binary", 0, 5),) and records.x.dtype == np.uint8
        assert (schema.name, schema.source, schema.num_classes) == ("own", "local", 3)
    pixels = np.arange(12 * 8).reshape(12, 2, 4).astype(np.uint8)
    records, schema = data.load(str(own(tmp_path, x=pixels, y=y)))
    assert schema.fields == (Field("pixels", "pixel", 0, 8, 0.0, 255.0),) and schema.shape == (2, 4)
    assert records.x.dtype == np.uint8 and records.y.dtype == np.int32
    numbers = np.linspace(-1, 3, 24).reshape(12, 2)
    records, schema = data.load(own(tmp_path, x=numbers, y=y))
    assert records.x.dtype == np.float32
    assert [(f.kind, f.start, f.stop) for f in schema.fields] == [("numeric", 0, 1), ("numeric", 1, 2)]
    np.testing.assert_allclose([f.low for f in schema.fields], numbers.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose([f.high for f in schema.fields], numbers.max(axis=0), rtol=1e-6)


LX, LY = bits(12, 5), cycle(12, 3)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (dict(x=LX), "no array 'y'"),
        (dict(y=LY), "no array 'x'"),
        (dict(x=LX, y=LY[:-1]), r"a label for each record, y \[12\]"),
        (dict(x=LX, y=np.eye(3)[LY]), r"needed: integers \[n\]; y.argmax\(axis=1\) makes them of a one-hot code"),
        (dict(x=LX, y=LY - 1), "record 0 has the label -1, which is negative: classes are numbered from 0"),
        (dict(x=LX, y=np.where(LY == 2, np.nan, LY)), r"record 2 has no label \(nan\), not a whole number; leave such"),
        (dict(x=LX, y=np.where(LY == 2, np.inf, LY)), r"label inf, outside of 0..2147483646"),
        (dict(x=LX, y=LY * 2), r"class 1 \(and 1 more\) of 0..4 has no record"),
        (dict(x=LX, y=LY + LY.astype(np.int64) * 10**9), r"class 1 \(and 1,999,999,999 more\)"),
        (dict(x=LX, y=LY + LY.astype(np.int64) * 10**12), r"label 1000000000001, outside of 0..2147483646"),
        (dict(x=LX, y=LY + 1), "class 0 of 0..3 has no record"),
        (dict(x=LX, y=LY + 0.5), "not whole numbers"),
        (dict(x=LX, y=LY * 0), "single class"),
        (dict(x=LX, y=LY.astype(str)), r"text \('0', '1', '2', ...\); needed: integers .*np.unique\(y, return_inverse"),
        (dict(x=np.where(LX == 1, -np.inf, 0), y=LY), "feature that is -inf"),
        (dict(x=np.where(LX == 1, 1e300, 0), y=LY), "beyond 3e38, .* scale them"),
        (dict(x=LX[:0], y=LY[:0]), "n > 0"),
        (dict(x=LX[:, 0], y=LY), "shape"),
        (dict(x=LX.astype(str), y=LY), "needed: numbers"),
        (
            dict(x=LX.astype(object), y=LY),
            r"its array 'x' holds Python objects, which are numbers: write x.astype\(float\)",
        ),
        (dict(x=LX, y=np.int32(1)), r"a label for each record, y \[12\]"),
        (dict(x=LX, y=LY, schema=np.array("{")), "schema is damaged"),
        (dict(x=LX, y=LY, schema=np.array("[]")), "schema is damaged"),
    ],
)
def test_local_refuses(tmp_path, arrays, reason):
    with pytest.raises(InputError, match=reason) as error:
        data.load(own(tmp_path, **arrays))
    assert "own.npz" in str(error.value) and "\n" not in str(error.value)


def test_local_refuses_what_is_no_npz(tmp_path):
    whole = npz(x=LX, y=LY)
    for content, reason in (
        (b"", "it is not an .npz file"),
        (b"x,y\n", "it is not an .npz file"),
        *((spoiled, "it is damaged, or was not written to its end") for spoiled in (whole[:-30], whole[:200])),
    ):
        (tmp_path / "own.npz").write_bytes(content)
        with pytest.raises(InputError) as error:
            data.load(tmp_path / "own.npz")
        told = f"{tmp_path}/own.npz cannot be used: {reason}; write it with np.savez(path, x=x, y=y)"
        assert str(error.value) == told
    with pytest.raises(InputError, match=r"is a folder; give the path of a file in it, written with np\.savez"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("source", "loaded"),
    [("simulated", "simulated"), ("synthesised", "synthesised"), ("official", "local"), ("local", "local")],
)
def test_save_and_load(tmp_path, source, loaded):
    fields = (
        Field("age", "numeric", 0, 1, -1.5, 2.0),
        Field("sex", "categorical", 1, 3, categories=("Female", "Male")),
        Field("bits", "binary", 3, 5),
    )
    x = np.array([[0.1, 1, 0, 1, 1], [-1.5, 0, 1, 0, 1], [2, 1, 0, 0, 0]] * 2, np.float32)
    records = Records(x, np.array([0, 1, 0, 1, 0, 0], np.int32))
    schema = Schema("mine", source, "", 3, (5,), fields, ("Synthesized.",))  # class 2 is known, and empty
    data.save(tmp_path / "s.npz", records, schema)
    again, found = data.load(tmp_path / "s.npz")
    np.testing.assert_array_equal(again.x, records.x)
    np.testing.assert_array_equal(again.y, records.y)
    assert found == schema._replace(source=loaded, digest=array_digest(*records))
    with pytest.raises(InputError, match="cannot be written"):
        data.save(tmp_path / "no" / "s.npz", records, schema)


@pytest.mark.parametrize(
    ("name", "source", "title", "loaded"),
    [
        ("purchase100", "simulated", "SIMULATED Purchase-100, synthesized (search)", "simulated"),
        ("location", "official", "Location (Bangkok), synthesized (search)", "synthesised"),
        ("own", "local", "own, synthesized (search)", "synthesised"),
    ],
)
def test_synthesized_records_say_so_wherever_they_are_named(tmp_path, name, source, title, loaded):
    schema = Schema(name, source, "", 3, (5,), (Field("bits", "binary", 0, 5),), ("Before.",))
    data.save(tmp_path / "s.npz", Records(LX, LY), data.synthesized(schema, "search", "Synthesized."))
    records, found = data.load(tmp_path / "s.npz")
    assert (found.source, found.notes) == (loaded, ("Before.", "Synthesized."))
    block = results.dataset(found, data.title(found.name), len(records.y), np.ones(3))
    assert words.marked_title(block) == title


@pytest.mark.parametrize("source", ["official", "simulated"])
def test_a_file_is_neither_official_nor_simulated(tmp_path, source):
    path = own(tmp_path, x=LX, y=LY)
    with pytest.raises(InputError, match=rf"own\.npz is your own file, not {source} data: leave data_source={source}"):
        data.load(path, source=source)


def test_saved_schema_must_fit_the_records(tmp_path):
    schema = Schema("mine", "local", "", 3, (5,), (Field("bits", "binary", 0, 4),))
    data.save(tmp_path / "s.npz", Records(LX, LY), schema)
    with pytest.raises(InputError, match="do not cover the record"):
        data.load(tmp_path / "s.npz")
    data.save(tmp_path / "s.npz", Records(LX, LY), schema._replace(num_classes=2, fields=(Field("b", "binary", 0, 5),)))
    with pytest.raises(InputError, match=r"label 2, outside of 0..1"):
        data.load(tmp_path / "s.npz")
    assert json.loads(str(np.load(tmp_path / "s.npz")["schema"]))["name"] == "mine"


def test_a_member_in_a_data_set_is_said_to_be_of_no_use(tmp_path):
    """It was ignored without a word."""
    np.savez(tmp_path / "own.npz", x=LX, y=LY, member=np.arange(len(LY)) < 3)
    said = []
    _, schema = data.load(tmp_path / "own.npz", notify=said.append)
    assert said == list(schema.notes) and said[-1].startswith("The file's member is not used")
    assert "kept once it is renamed (the column" in said[-1]
    data.save(tmp_path / "again.npz", data.load(tmp_path / "own.npz")[0], schema, member=np.arange(len(LY)) < 3)
    assert data.load(tmp_path / "again.npz")[1].notes == schema.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda x, y: np.c_[x, np.arange(7, 7 + len(x))],
            "Column 5 of x counts the rows, as the index of a table does",
        ),
        (lambda x, y: np.c_[x[:, :2], y, x[:, 2:]], "Column 2 of x is y itself"),
        (lambda x, y: np.where(x < 0.1, -999, x), "-999 is in 5 of 5 columns"),
        (lambda x, y: np.repeat(np.repeat(x[:, :3, None, None], 8, 2), 8, 3), "channels first; .* np.moveaxis"),
        (lambda x, y: x, None),
        (lambda x, y: np.repeat(np.repeat(x[:, None, None, :3], 8, 1), 8, 2), None),
        (lambda x, y: np.where(x < 0.1, -999, x) - 500 * (x > 0.9), None),
    ],
)
def test_odd_records_are_remarked_upon(change, said, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 5)), np.arange(60) % 3
    np.savez(tmp_path / "own.npz", x=change(x, y), y=y)
    notes = [note for note in data.load(tmp_path / "own.npz")[1].notes if not note.startswith("For our networks")]
    assert len(notes) == (said is not None) and (said is None or re.search(said, notes[0]))


def test_labels_in_words_are_not_saved(tmp_path):
    records, schema = data.load(own(tmp_path, x=bits(12, 5), y=cycle(12, 3)))
    with pytest.raises(InputError, match="numbers its classes"):
        data.save(tmp_path / "mine.npz", Records(records.x, np.array(list("abc" * 4))), schema)
