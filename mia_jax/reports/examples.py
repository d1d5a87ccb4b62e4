"""Records as people can look at them: pictures where they are pixels, attributes in words otherwise. NumPy only."""

import numpy as np

from mia_jax.types import Array, Field, Schema

LISTED = 12  # attributes that are named
WIDEST = 96  # pixels of a side; larger pictures are shown by every second, third, ... pixel


def pictures(schema: Schema, x: Array) -> np.ndarray | None:
    """Records x [n, *f] as uint8 [n, h, w, 1 or 3], or None where they are no pictures."""
    shape = tuple(schema.shape)
    if len(shape) not in (2, 3) or any(field.kind != "pixel" for field in schema.fields):
        return None
    if len(shape) == 3 and shape[2] not in (1, 3):
        return None
    low, high = (np.empty(int(np.prod(shape))) for _ in range(2))
    for field in schema.fields:
        low[field.start : field.stop], high[field.start : field.stop] = field.low, field.high
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    shown = 255 * (flat - low) / np.maximum(high - low, 1e-12)
    step = -(-max(shape[:2]) // WIDEST)
    shown = np.clip(np.rint(shown), 0, 255).astype(np.uint8).reshape(len(x), *shape[:2], -1)
    return shown[:, ::step, ::step]


def attributes(schema: Schema, x: Array) -> list[str]:
    """Each record of x [n, *f] in a line: the bits that are set, the categories, the numbers with their range."""
    out = []
    for row in np.asarray(x).reshape(len(x), -1):
        texts = [text for field in schema.fields if (text := _in_words(field, row[field.start : field.stop]))]
        more = len(texts) - LISTED
        text = "; ".join(texts[:LISTED]) + (f"; and {more:,} more" if more > 0 else "")
        out.append(text or "no attribute is set")
    return out


def _in_words(field: Field, values: np.ndarray) -> str:
    if field.kind == "binary":
        places = np.flatnonzero(values)
        if len(values) == 1:
            return field.name if len(places) else ""
        listed = ", ".join(map(str, places[:LISTED])) + (", ..." if len(places) > LISTED else "")
        return f"{field.name}: {len(places):,} of {len(values):,} set" + (f" (columns {listed})" if listed else "")
    if field.kind == "categorical":
        code = int(values.argmax())
        return f"{field.name}: {field.categories[code] if code < len(field.categories) else f'category {code}'}"
    if len(values) == 1:
        return f"{field.name}: {values[0]:.3g} (of {field.low:.3g} to {field.high:.3g})"
    return f"{field.name}: {len(values):,} numbers, mean {values.mean():.3g} (of {field.low:.3g} to {field.high:.3g})"
