"""Schemas that tests share."""

from mia_jax.types import Field, Schema


def mixed(num_classes: int) -> Schema:
    """Attributes of every kind, in twelve columns."""
    fields = (
        Field("age", "numeric", 0, 1, -2.0, 3.0),
        Field("job", "categorical", 1, 5),
        Field("flags", "binary", 5, 9),
        Field("sex", "categorical", 9, 11),
        Field("shade", "pixel", 11, 12, 0.0, 255.0),
    )
    return Schema("mixed", "local", "0", num_classes, (12,), fields)
