"""Purchase, Location, Texas (Shokri et al. 2017, section VI-A) and Adult, as they are published.

A parser takes the contents of the files of one format, by name, and gives (x, y); it raises ``ValueError`` with the
reason where they are not what they should be.
"""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np

from mia_jax.data import files, npz
from mia_jax.types import Field

_ROWS = 8192  # rows parsed at once: the text of Texas is 830 MB, and is never held as a whole


def bit_rows(lines: IO[bytes], *, labeled: bool, widths: Sequence[int] = ()) -> tuple[np.ndarray, list[bytes]]:
    """Parse CSV rows of single characters 0 and 1, after a label of any length where ``labeled``.

    All rows have as many features as the first; blank lines are skipped. The tail of a row has a fixed width, so a
    block of rows is one array of bytes, and checked as such.

    Args:
        widths: numbers of features that rows may have; any, where none are given.

    Returns:
        (x [n, f] uint8, the n labels without their quotes).

    Raises:
        ValueError: naming the first row of another form.
    """
    blocks: list[np.ndarray] = []
    names: list[bytes] = []
    f, done = -1, 0
    bounded, size = files.lines(lines), 1  # the first row alone: it tells whether the others are worth reading
    while block := list(itertools.islice(bounded, size)):
        size = _ROWS
        rows = [row.rstrip() for row in block]
        rows = [row if labeled else b"," + row for row in rows if row]
        if not rows:
            continue
        if f < 0:
            f = rows[0].count(b",")
            if not f:
                raise ValueError("row 1 is not comma-separated")
            _check_features(f, *widths)
        tails = np.frombuffer(b"".join(row[-2 * f :] for row in rows), np.uint8)
        heads = [row[: -2 * f] for row in rows]
        if len(tails) != 2 * f * len(rows) or any(b"," in head for head in heads):
            raise ValueError(_first_wrong(rows, f, done))
        pairs = tails.reshape(len(rows), f, 2)
        bits = pairs[:, :, 1] ^ ord("0")
        if (pairs[:, :, 0] != ord(",")).any() or (bits > 1).any():
            raise ValueError(_first_wrong(rows, f, done))
        blocks.append(bits)
        names += [head.strip().strip(b'"') for head in heads]
        done += len(rows)
    if not blocks:
        raise ValueError("it has no rows")
    x = np.empty((done, f), np.uint8)
    while blocks:  # from the last, and each is freed: never two copies of 415 MB
        rest, done = done, done - len(blocks[-1])
        x[done:rest] = blocks.pop()
    return x, names


def _first_wrong(rows: list[bytes], f: int, done: int) -> str:
    for i, row in enumerate(rows, start=done + 1):
        values = row.split(b",")[1:]
        if len(values) != f:
            return f"row {i} has {len(values)} features and row 1 has {f}"
        if wrong := [v for v in values if v not in (b"0", b"1")]:
            return f"row {i} has the feature {wrong[0][:20].decode(errors='replace')!r}, neither 0 nor 1"
    raise AssertionError("no row is wrong")


def _whole_numbers(names: list[bytes]) -> np.ndarray:
    for i, name in enumerate(names, start=1):
        if not name.isdigit():
            raise ValueError(f"row {i} has the label {name[:20].decode(errors='replace')!r}, not a whole number")
    return np.array([int(name) for name in names], np.int64)


def parse_labeled_csv(contents: Mapping[str, bytes], member: str, width: int, classes: int):
    """Purchase or Location, a .tgz with one CSV member: the class (1-based, perhaps quoted), then the bits."""
    (archive,) = contents.values()
    for _, lines in files.members(archive, [member]):
        records = _labeled(lines, width, classes)
    return records


def parse_labeled_rows(contents: Mapping[str, pathlib.Path], width: int, classes: int):
    """The member of such a .tgz, unpacked."""
    (path,) = contents.values()
    with open(path, "rb") as lines:
        return _labeled(lines, width, classes)


def _labeled(lines: IO[bytes], width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    x, names = bit_rows(lines, labeled=True, widths=(width,))
    return x, files.labels(_whole_numbers(names), classes, one_based=True)


def parse_texas(contents: Mapping[str, bytes], widths: tuple[int, ...], classes: int):
    """``dataset_texas.tgz``: bits in ``texas/100/feats`` and classes, one per line, in ``texas/100/labels``."""
    (archive,) = contents.values()
    for name, lines in files.members(archive, ["100/feats", "100/labels"]):
        if name == "100/feats":
            x, _ = bit_rows(lines, labeled=False, widths=widths)
        else:
            names = _label_lines(lines)
    return _together(x, names, classes)


def parse_texas_rows(contents: Mapping[str, pathlib.Path], widths: tuple[int, ...], classes: int):
    """The two members of that archive, unpacked: feats, labels."""
    feats, labels = contents.values()
    with open(feats, "rb") as lines:
        x, _ = bit_rows(lines, labeled=False, widths=widths)
    with open(labels, "rb") as lines:
        return _together(x, _label_lines(lines), classes)


def _label_lines(lines: IO[bytes]) -> list[bytes]:
    return [line.strip().strip(b'"') for line in files.lines(lines) if line.strip()]


def _together(x: np.ndarray, names: list[bytes], classes: int) -> tuple[np.ndarray, np.ndarray]:
    if len(names) != len(x):
        raise ValueError(f"it has {len(x):,} rows of features and {len(names):,} labels")
    return x, files.labels(_whole_numbers(names), classes, one_based=True)


def parse_npz(contents: Mapping[str, bytes], widths: tuple[int, ...], classes: int):
    """An .npz with ``features`` and ``labels`` (integers or one-hot), or in the Keras layout."""
    (data,) = contents.values()
    arrays = npz.read(data, ["features", "labels", *files.KERAS])
    if {"features", "labels"} <= {*arrays}:
        parts = [(arrays["features"], arrays["labels"])]
    elif {"features", "labels"} & {*arrays}:
        raise ValueError(f"of the arrays 'features' and 'labels' it has only {', '.join(arrays)}")
    else:
        train_x, train_y, test_x, test_y = files.keras(arrays)
        parts = [(train_x, train_y), (test_x, test_y)]
    for x, y in parts:
        files.check_paired(x, y)
        _check_width(x, *widths)
    ys = np.concatenate([y for _, y in parts])  # together, as one label tells for all whether they count from 1
    xs = [files.bits(x) for x, _ in parts]
    return xs[0] if len(xs) == 1 else np.concatenate(xs), files.labels(ys, classes, one_based=True)


def _check_width(x: np.ndarray, *allowed: int) -> None:
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise ValueError(f"its features have shape {x.shape} and type {x.dtype}; needed: numbers [n, f]")
    _check_features(x.shape[1], *allowed)


def _check_features(f: int, *allowed: int) -> None:
    if allowed and f not in allowed:
        raise ValueError(f"it has {f:,} features per record, not {' or '.join(f'{f:,}' for f in allowed)}")


# --- Adult -----------------------------------------------------------------------------------------------------------

# The attributes in the order of the files, with the categories that the published files hold ("?": a missing value); no
# categories: a number. They are constants, not collected, so that any sample of the files is encoded alike.
_ADULT = {
    "age": "",
    "workclass": "? Federal-gov Local-gov Never-worked Private Self-emp-inc Self-emp-not-inc State-gov Without-pay",
    "fnlwgt": "",
    "education": """10th 11th 12th 1st-4th 5th-6th 7th-8th 9th Assoc-acdm Assoc-voc Bachelors Doctorate HS-grad Masters
        Preschool Prof-school Some-college""",
    "education-num": "",
    "marital-status": """Divorced Married-AF-spouse Married-civ-spouse Married-spouse-absent Never-married Separated
        Widowed""",
    "occupation": """? Adm-clerical Armed-Forces Craft-repair Exec-managerial Farming-fishing Handlers-cleaners
        Machine-op-inspct Other-service Priv-house-serv Prof-specialty Protective-serv Sales Tech-support
        Transport-moving""",
    "relationship": "Husband Not-in-family Other-relative Own-child Unmarried Wife",
    "race": "Amer-Indian-Eskimo Asian-Pac-Islander Black Other White",
    "sex": "Female Male",
    "capital-gain": "",
    "capital-loss": "",
    "hours-per-week": "",
    "native-country": """? Cambodia Canada China Columbia Cuba Dominican-Republic Ecuador El-Salvador England France
        Germany Greece Guatemala Haiti Holand-Netherlands Honduras Hong Hungary India Iran Ireland Italy Jamaica Japan
        Laos Mexico Nicaragua Outlying-US(Guam-USVI-etc) Peru Philippines Poland Portugal Puerto-Rico Scotland South
        Taiwan Thailand Trinadad&Tobago United-States Vietnam Yugoslavia""",
}
ADULT = {name: tuple(categories.split()) for name, categories in _ADULT.items()}
ADULT_WIDTH = sum(max(1, len(categories)) for categories in ADULT.values())  # 108
_INCOME = {"<=50K": 0, ">50K": 1}


def parse_adult(contents: Mapping[str, bytes]):
    """``adult.data`` and then ``adult.test``: x [n, 108] float32, y [n] int32 (1: more than 50,000 dollars a year).

    Categories are one-hot, a missing value ("?") is a category of its own, and the six numbers are standardized with
    the mean and the standard deviation (of the population, ddof 0) over all rows of both files.
    """
    rows = []
    for name, data in contents.items():
        for i, line in enumerate(data.decode("ascii").splitlines(), start=1):
            if not line.strip() or line.startswith("|"):  # adult.test opens with a comment
                continue
            row = line.split(", ")
            if len(row) != len(ADULT) + 1:
                raise ValueError(f"line {i} of {name} has {len(row)} values, not {len(ADULT) + 1}")
            rows.append(row)
    if not rows:
        raise ValueError("it has no rows")
    *columns, incomes = zip(*rows, strict=True)
    parts = []
    for (attribute, categories), column in zip(ADULT.items(), columns, strict=True):
        if not categories:
            numbers = np.array([_number(attribute, value) for value in column])
            parts.append(((numbers - numbers.mean()) / (numbers.std() or 1.0))[:, None])
        else:
            parts.append(np.eye(len(categories))[_codes(attribute, column, {c: k for k, c in enumerate(categories)})])
    x = np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")
    return x, _codes("income", [income.strip().rstrip(".") for income in incomes], _INCOME).astype(np.int32)


def _number(attribute: str, value: str) -> float:
    if not value.isdigit():
        raise ValueError(f"{attribute} has the value {value[:20]!r}, not a whole number")
    return float(value)


def _codes(attribute: str, column, code: Mapping[str, int]) -> np.ndarray:
    if unknown := {*column} - {*code}:
        raise ValueError(f"{attribute} has the value {min(unknown)[:20]!r}, which is none of its categories")
    return np.array([code[value] for value in column])


def adult_fields(x: np.ndarray) -> tuple[Field, ...]:
    """One field per attribute of encoded records x [n, 108]; numbers range over what is there, standardized."""
    fields, start = [], 0
    for name, categories in ADULT.items():
        if not categories:
            low, high = float(x[:, start].min()), float(x[:, start].max())
            fields.append(Field(name, "numeric", start, start + 1, low, high))
        else:
            fields.append(Field(name, "categorical", start, start + len(categories), categories=categories))
        start = fields[-1].stop
    return tuple(fields)
