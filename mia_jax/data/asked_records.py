"""What a user's table must be to ask a model about it: without gaps, with every digit, members told by words."""

import numpy as np

from mia_jax import sanitize
from mia_jax.data import columns, truths
from mia_jax.data.records import Own


def refuse_missing(own: Own) -> None:
    """Refuse records of a table in which numbers are missing.

    Raises:
        ValueError: the first of them.
    """
    x = own.records.x
    if x.dtype.kind == "f" and (wrong := np.isnan(x)).any():
        row, column = (int(k) for k in np.argwhere(wrong)[0])
        name = next(field.name for field in own.schema.fields if field.start <= column < field.stop)
        raise ValueError(
            f"column {name} lacks a value in record {row}, and a model that is asked needs all: fill it in, leave the"
            f" record out, or leave the column out with `kinds={name}:drop`"
        )


def refuse_unkept(own: Own) -> None:
    """Refuse records of a table with whole numbers that float64 has lost a digit of, as identifiers.

    Raises:
        ValueError: the first of them.
    """
    if own.sent is None:
        return
    x = np.abs(own.sent)
    column = int(((x > 2**53) & (x < 2**64)).any(axis=0).argmax())
    if (np.trunc(own.sent[:, column]) == own.sent[:, column]).all() and (x[:, column] > 2**53).any():
        name = next(field.name for field in own.schema.fields if field.start <= column < field.stop)
        row = int((x[:, column] > 2**53).argmax())
        raise ValueError(
            f"column {name} has the whole number {own.sent[row, column]:.0f}, or one near it, in record {row}, and"
            f" numbers are kept up to 2^53 = {2**53} only: leave the column out with `kinds={name}:drop`, or take"
            " something off it"
        )


def truth(values: np.ndarray) -> np.ndarray:
    """A column ``member`` [n] as it is checked elsewhere: words for true and false become these.

    Raises:
        ValueError: a value is missing, or another word.
    """
    there = ~columns.missing(values)
    if not there.all():
        raise ValueError(f"record {int(np.argmin(there))} has no value in the column member; fill it in with 0 or 1")
    if values.dtype.kind in "biuf":
        return values
    written = columns.as_text(values)
    texts = [text.lower() for text in written.tolist()]
    column = "df['member']"  # in pandas, which writes such files
    for row, text in enumerate(texts):
        if text not in columns.WORDS and text not in ("0", "1"):
            raise ValueError(
                f"record {row} has {sanitize.quoted(text)} in the column member; needed: 1 where the record trained the"
                f" model, and 0{truths.untrue(column, written.astype(str))}"
            )
    return np.array([bool(columns.WORDS.get(text, text == "1")) for text in texts])
