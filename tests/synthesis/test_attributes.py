"""What a schema says of a record, and records drawn from nothing else."""

import jax
import numpy as np
import pytest
import scipy.stats

from mia_jax.synthesis import attributes
from mia_jax.types import Field, InputError, Schema

MIXED = (
    Field("age", "numeric", 0, 1, -2.0, 3.0),
    Field("job", "categorical", 1, 4),
    Field("flags", "binary", 4, 6),
    Field("sex", "categorical", 6, 8),
    Field("shade", "pixel", 8, 9, 0.0, 3.0),
)


def schema(fields=MIXED, shape=None, classes=3):
    return Schema("probe", "local", "0", classes, shape or (fields[-1].stop,), fields)


def draws(s, n=6000, **options):
    a = attributes.attributes(s)
    keys = jax.random.split(jax.random.key(0), n)
    return a, np.asarray(jax.vmap(lambda key: attributes.draw(a, key, **options))(keys))


def test_attributes_of_mixed_columns():
    a = attributes.attributes(schema())
    assert a.count == 6 and a.of.tolist() == [0, 1, 1, 1, 2, 3, 4, 4, 5] and a.sizes.tolist() == [3, 2]
    assert (
        a.dtype == np.float32
        and attributes.attributes(schema(MIXED[1:2], (3,))._replace(fields=(Field("job", "categorical", 0, 3),))).dtype
        == np.uint8
    )


def test_every_value_is_equally_likely():
    _, x = draws(schema())
    numbers, flags, shade = x[:, 0], x[:, 4:6], x[:, 8]
    assert scipy.stats.kstest(numbers, "uniform", (-2, 5)).pvalue > 1e-4
    for group in (x[:, 1:4], x[:, 6:8]):
        assert set(np.unique(group)) == {0, 1} and (group.sum(axis=1) == 1).all()
        assert scipy.stats.chisquare(group.sum(axis=0)).pvalue > 1e-4
    assert scipy.stats.chisquare(np.unique(flags @ [1, 2], return_counts=True)[1]).pvalue > 1e-4
    assert np.unique(shade).tolist() == [0, 1, 2, 3]
    assert scipy.stats.chisquare(np.unique(shade, return_counts=True)[1]).pvalue > 1e-4


def test_other_values():
    before = np.array([1, 0, 1, 0, 1, 0, 1, 0, 2], np.float32)
    _, x = draws(schema(), other_than=before)
    np.testing.assert_array_equal(x[:, 4:8], np.broadcast_to(np.array([0, 1, 0, 1]), (len(x), 4)))
    assert not x[:, 2].any() and (x[:, 1:4].sum(axis=1) == 1).all()
    assert scipy.stats.chisquare(x[:, [1, 3]].sum(axis=0)).pvalue > 1e-4
    assert np.unique(x[:, 8]).tolist() == [0, 1, 2, 3]


def test_images_are_pixels_of_their_dtype():
    a, x = draws(schema((Field("pixels", "pixel", 0, 12, 0.0, 255.0),), (2, 2, 3)), n=500)
    assert a.dtype == x.dtype == np.uint8 and a.shape == (2, 2, 3) and a.count == 12
    assert x.min() == 0 and x.max() == 255


@pytest.mark.parametrize(
    "fields",
    [
        (Field("bits", "binary", 0, 3),),
        (Field("bits", "binary", 0, 3), Field("bits", "binary", 4, 5)),
        (Field("bits", "binary", 1, 5),),
        (Field("number", "numeric", 0, 5, 1.0, 0.0),),
        (Field("number", "numeric", 0, 5, float("nan"), 1.0),),
        (Field("word", "text", 0, 5),),
    ],
)
def test_schemas_that_cannot_be_drawn_from_are_refused(fields):
    with pytest.raises(InputError):
        attributes.attributes(schema(fields, (5,)))
