"""Records of any kind as a table of numbers, for the blind baseline."""

import numpy as np
import pytest

from mia_jax.data.plain_features import of_records
from mia_jax.types import Field, InputError


def test_arrays_stay_what_they_are_and_columns_have_names():
    x = np.array([[1, 0, np.inf], [2, 1, 5]], np.float64)
    found = of_records(
        x, (Field("age", "numeric", 0, 1), Field("town", "categorical", 1, 3, categories=("Ulm", "Bonn")))
    )
    np.testing.assert_array_equal(found.x, np.array([[1, 0, np.nan], [2, 1, 5]], np.float32))
    assert found.names == ["age", "town Ulm", "town Bonn"] and found.x.dtype == np.float32


def test_frames_and_tables_of_objects_become_numbers():
    table = {"age": [30, 41, None], "town": ["Ulm", "Bonn", "Ulm"], "day": ["2020-01-03", "2021-01-03", None]}
    objects = of_records(np.array(list(zip(table["age"], table["town"], strict=True)), object))
    np.testing.assert_array_equal(objects.x, np.array([[30, 1, 3], [41, 0, 4], [np.nan, 1, 3]], np.float32))
    assert objects.names == ["column 0", "column 1", "column 1, characters"]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({**table, "day": pandas.to_datetime(table["day"])})
    found = of_records(frame)
    assert found.names == ["age", "town", "town, characters", "day"]
    np.testing.assert_array_equal(found.x[:, 1:3], [[1, 3], [0, 4], [1, 3]])
    assert found.x[1, 3] - found.x[0, 3] == 366 and np.isnan(found.x[2, 3])


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 32, 32, 3), (5, 3, 32, 32), (5, 6, 2, 9, 4)])
def test_images_become_brightness_edges_and_a_small_picture(shape):
    x = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    x[0] = 200
    found = of_records(x)
    assert found.x.shape == (5, len(found.names)) and np.isfinite(found.x).all()
    mean, spread = (next(k for k, name in enumerate(found.names) if what in name) for what in ("mean", "spread"))
    assert found.x[0, mean] == 200 and found.x[0, spread] == 0 and found.x[1, spread] > 10


def test_texts_are_counted_and_what_is_none_is_refused():
    found = of_records(np.array(["seen in 2021", "seen in 2021 and again", ""]))
    assert found.x[:, :3].tolist() == [[12, 3, 4], [22, 5, 4], [0, 0, 0]] and found.x[1, 3:].sum() == 5
    with pytest.raises(InputError, match="no table"):
        of_records(np.full((2, 2, 2), "a", object))
