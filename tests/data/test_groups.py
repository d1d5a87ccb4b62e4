"""Groups of records by a column."""

import numpy as np
import pytest

from mia_jax.data import groups
from mia_jax.types import Field, InputError, Schema


def test_values_are_groups_and_numbers_quarters():
    found = groups.by_values(["Ulm", "Bonn", None, "Ulm"], "town")
    assert found.names == ["Bonn", "Ulm", "missing"] and found.of.tolist() == [1, 0, 2, 1]
    few = groups.by_values(np.array([2, 1, 2]), "children")
    assert few.names == ["1", "2"] and few.of.tolist() == [1, 0, 1] and not few.note
    age = groups.by_values(np.append(np.arange(100.0), np.nan), "age")
    assert age.names == ["0 to 24", "25 to 49", "50 to 74", "75 to 99", "missing"] and "quarters" in age.note
    assert np.bincount(age.of).tolist() == [25, 25, 25, 25, 1]
    tied = groups.by_values(np.r_[np.zeros(80), np.arange(1, 21)], "gain")
    assert len(tied.names) == len({*tied.of}) and sum(np.bincount(tied.of)) == 100
    many = groups.by_values([f"v{k // 2 if k < 20 else k}" for k in range(100)], "zip")
    assert len(many.names) == groups.MOST and many.names[-1] == "all others" and "most frequent" in many.note
    with pytest.raises(InputError, match="one value for each record"):
        groups.by_values(np.zeros((3, 2)), "x")


def test_columns_of_records_are_found_by_their_field():
    fields = (Field("Age", "numeric", 0, 1), Field("town", "categorical", 1, 3, categories=("Ulm", "Bonn")))
    schema = Schema("mine", "local", "0" * 64, 2, (3,), fields)
    x = np.array([[30, 1, 0], [40, 0, 1], [30, 0, 1]])
    assert groups.by_field(x, schema, "TOWN").of.tolist() == [1, 0, 0]
    assert groups.by_field(x, schema, "age").names == ["30", "40"]
    with pytest.raises(InputError, match="no such column; there are age, town"):
        groups.by_field(x, schema, "sex")
