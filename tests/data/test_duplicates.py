"""Copies are found by the values of records, in whatever holds them."""

import numpy as np
import pytest

from mia_jax.data import duplicates

HELD = {
    "integers that float32 rounds": np.array([[2**40, 1], [2**40 + 1, 1], [2**40, 1]]),
    "missing numbers": np.array([[np.nan, 0.0], [1.0, 0.0], [np.nan, -0.0]]),
    "text": np.array([["a", 1], ["b", 1], ["a", 1]], object),
    "sentences": np.array(["one", "two", "one"]),
}


@pytest.mark.parametrize("held", HELD)
def test_records_with_the_same_values_are_copies(held):
    np.testing.assert_array_equal(duplicates.groups(HELD[held]), [0, 1, 0])
    assert duplicates.of_records(np.zeros((3, 0))) is None  # of a file that has no records


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_rows_of_a_data_frame_are_compared(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"age": [31.0, None, 31.0, None, 31.0], "town": ["Ulm", None, "Ulm", None, "Bonn"]})
    np.testing.assert_array_equal(duplicates.groups(frame), [0, 1, 0, 1, 2])
