"""Arrays in files that are read in parts."""

import numpy as np
import pytest

from mia_jax.rows import Rows, rows_of, through
from mia_jax.storage import open_workdir, stored
from mia_jax.storage.stored import Scratch, Stored


@pytest.fixture
def table(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 37)).astype(np.float32)
    scratch = Scratch(tmp_path, array.shape, np.float32)
    for k in (3, 0, 4, 2, 1):
        scratch.write(k, array[k])
    return scratch.rows(), array


@pytest.mark.parametrize(
    "key",
    [
        2,
        -1,
        np.int64(3),
        (1, slice(4, 9)),
        (slice(None), slice(5, 30)),
        (slice(None), np.array([3, 1, 36])),
        (np.array([4, 0]), slice(None, 7)),
        np.array([2, 2, 0]),
        np.array([True, False, True, False, True]),
        slice(1, None),
        (0, slice(30, 99)),
        (2, slice(9, 4)),
        (slice(0, 0), slice(2, 5)),
        (1, slice(None, None, -1)),
        (2, slice(3, None, 4)),
        (slice(None), slice(30, 5, -3)),
    ],
)
def test_rows_are_read_as_an_array_is(table, key):
    rows, array = table
    assert np.array_equal(np.asarray(rows[key]), array[key])


def test_rows_of_rows(table):
    rows, array = table
    some = rows[np.array([4, 1, 3])][1:]
    assert isinstance(some, Rows) and some.shape == (2, 37) and len(some) == 2
    assert np.array_equal(np.stack(list(some)), array[[1, 3]])
    doubled = through(rows, lambda row: 2 * row, np.float32)
    assert np.array_equal(doubled[3, 2:5], 2 * array[3, 2:5])
    assert rows_of(rows) is rows and rows_of([[1, 0]], bool).dtype == bool


def test_the_arrays_of_an_artifact_lie_where_they_are_said_to(tmp_path):
    arrays = {
        "a": np.arange(30, dtype=np.float64).reshape(10, 3),
        "b": np.arange(7) > 3,
        "none": np.zeros((0, 2), np.int32),
        "one": np.array(5.0),
    }
    with open_workdir(tmp_path / "w", {"run": 1}) as workdir:
        workdir.save("stage", {"made": "so"}, arrays, seconds=1.5)
        found = workdir.in_parts("stage", {"made": "so"})
        assert found is not None and found.info == {"seconds": 1.5}
        assert all(isinstance(array, Stored) for array in found.arrays.values())
        assert np.array_equal(found.arrays["a"].read(slice(3, 6)), arrays["a"][3:6])
        assert np.array_equal(found.arrays["b"].read(), arrays["b"]) and found.arrays["none"].read().shape == (0, 2)
        rows = stored.stack([found.arrays["a"], arrays["a"] + 1])
        assert np.array_equal(np.asarray(rows), [arrays["a"], arrays["a"] + 1])
        assert workdir.in_parts("stage", {"made": "otherwise"}) is None


def test_what_cannot_be_read_in_parts_is_loaded(tmp_path):
    """Arrays in the other order; and damage is told, as it is where artifacts are loaded."""
    columns = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    with open_workdir(tmp_path / "w", {"run": 1}) as workdir:
        workdir.save("stage", {"made": "so"}, {"a": columns})
        found = workdir.in_parts("stage", {"made": "so"})
        assert found is not None and np.array_equal(found.arrays["a"], columns)
        workdir.save("stage", {"made": "so"}, {"a": np.arange(99.0)})
        file = next((tmp_path / "w" / "stage").iterdir())
        content = bytearray(file.read_bytes())
        content[300] ^= 1
        file.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert workdir.in_parts("stage", {"made": "so"}) is None
