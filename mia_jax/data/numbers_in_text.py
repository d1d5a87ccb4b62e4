"""Columns of text that are rather numbers, with signs, units or words between them: refused with the next move."""

import collections
import re

import numpy as np

from mia_jax import sanitize

MOSTLY = 0.5  # of a column that is numbers, so that the rest stands for none
SOME = 0.1  # of it, where the rest is words for what is missing
NEARLY = 0.9  # of a column that is numbers, so that the rest is an error
FEW = 10  # different texts that may be categories, or words between numbers
AMOUNTS = 100  # different texts that are no categories of amounts
UNITS = 4  # different units of measured numbers
NONE_WORDS = frozenset(  # beside those that are read as missing
    (
        *("missing", "unknown", "not available", "not applicable", "not known", "not recorded", "none given", "blank"),
        *(
            "unavailable",
            "undefined",
            "undisclosed",
            "empty",
            "void",
            "nil",
            "tbd",
            "n.a.",
            "n.a",
            "n. a.",
            "n.d.",
            "nd",
        ),
        *(
            "k.a.",
            "k. a.",
            "keine angabe",
            "unbekannt",
            "fehlt",
            "inconnu",
            "desconocido",
            2 * "-",
            3 * "-",
            ".",
            "..",
            "*",
        ),
        *("#value!", "#div/0!", "#ref!", "#name?", "#null!", "#num!", "(missing)", "(unknown)", "(blank)", "x", "xx"),
    )
)
_SIGN = r"(?:[A-Z]{0,2}\$|[€£¥₹₽₩]|EUR|USD|GBP|CHF|JPY|CNY|kr\.?|zł|Rs\.?)"
_WITH_SIGN = re.compile(  # also (4.74), 4.74-, \u22124.74, 1\u2019200.50
    rf"\(?{_SIGN}?\s*[+\-\u2212\u2013]?\s*{_SIGN}?\d[\d,._ '\u2019\u00a0\u2009\u202f]*\s*(?:%|{_SIGN})?-?\)?"
)
_WITH_UNIT = re.compile(r"[+\-\u2212]?\d[\d.,]*\s*([°µ]?[^\W\d_]{1,8}[²³]?(?:/[^\W\d_]{1,4}[²³]?)?)\.?")  # 20 kg, 5km/h


def refuse(name: str, texts: np.ndarray, rows: np.ndarray, good: np.ndarray, records: int) -> None:
    """Refuse text that is mostly numbers, or numbers with units and separators.

    Args:
        name: of the column.
        texts: [k], those that are there.
        rows: int [k], their records.
        good: bool [k], which of them are plain numbers or codes.
        records: n.

    Raises:
        ValueError: the record, and what to do.
    """
    others = texts[~good].tolist()
    if not others:
        return
    row, text = int(rows[~good][0]), sanitize.quoted(str(others[0]))
    if good.mean() >= NEARLY:
        more = len(others) - 1
        told = f" (nor {'is 1 other' if more == 1 else f'are {more:,} others'})" if more else ""
        raise ValueError(
            f"column {name} holds numbers, but {text} in record {row} is none{told}: mend it, leave it empty, or say"
            f" that they are categories with `kinds={name}:category`"
        )
    different = len({*texts.tolist()})
    if all(map(_WITH_SIGN.fullmatch, others)):
        move = f"say that they are categories with `kinds={name}:category`"
        many = different > min(AMOUNTS, max(FEW, len(texts) // 2))
        move = move if not many else f"leave the column out with `kinds={name}:drop`"
        raise ValueError(
            f"column {name} holds numbers with signs or separators ({text}, record {row}): write plain ones, as 1234.5"
            f" and -1234.5, or {move}"
        )
    words = collections.Counter(others)
    for_none = [word for word in words if word.lower() in NONE_WORDS]
    least = SOME if len(for_none) == len(words) else MOSTLY
    if good.mean() >= least and len({*texts[good].tolist()}) > FEW:
        told = [f"{count:,} times {sanitize.quoted(str(word))}" for word, count in words.most_common(3)]
        which = "these empty where they stand for no number"
        if len(for_none) == len(words):
            which = "these empty, which seem to stand for what is missing"
        raise ValueError(
            f"column {name} holds numbers in {int(good.sum()):,} of {records:,} records, and"
            f" {', '.join(told)}{', ...' if len(words) > 3 else ''}: leave {which}, or say that all are categories with"
            f" `kinds={name}:category`"
        )


def refuse_units(name: str, texts: np.ndarray, rows: np.ndarray) -> None:
    """Refuse numbers with a unit, as 20 kg, where they are too many different ones for categories.

    Args:
        name: of the column.
        texts: [k], those that are there.
        rows: int [k], their records.

    Raises:
        ValueError: the record, and what to do.
    """
    found = [_WITH_UNIT.fullmatch(text) for text in texts.tolist()]
    units = collections.Counter(match[1] for match in found if match)
    if sum(units.values()) < NEARLY * len(found) or len(units) > UNITS:
        return
    which = ", ".join(sanitize.quoted(unit) for unit, _ in units.most_common())
    one = "" if len(units) == 1 else ", all in one unit"
    k = next(k for k, match in enumerate(found) if match)
    raise ValueError(
        f"column {name} holds numbers with a unit ({sanitize.quoted(str(texts[k]))}, record {rows[k]}; {which}): write"
        f" plain numbers{one}, or leave the column out with `kinds={name}:drop`"
    )
