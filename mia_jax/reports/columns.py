"""The columns of scores.npz: what each is, and the same as a table of text, scores.csv.

scores.csv has a line for each record and target. It is written when it is asked for: an audit of 8 targets,
28 attacks and 197,324 records has 44 million scores, which are .18 GB in scores.npz and .5 GB as text.
"""

import csv
import os
from collections.abc import Iterator

import numpy as np

from mia_jax.reports import folder, measures
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.results import read
from mia_jax.storage import places

SCORE = "score"  # Shokri et al.'s; other attacks' names follow an underscore
MEANINGS = {
    "member": "true where the target was trained on the record",
    "label": "the record's class, numbered from 0",
    "own_label": "the class that the canary had before it was mislabeled",
    "index": "the record's row in the data set, from 0",
    "targets": "the models that were attacked, by number; the rows of member and of the scores",
    "confidence": "the probability that the target gives to the record's class",
    "entropy": "how undecided the target is about the record: its answer's entropy, 0 to 1",
    "signal": "the one number that the audit has of the record, larger where the model fits it better",
    "correct": "true where the target's best class is the record's",
    "separation": "how far answers with the record in training and without it lie apart, in standard deviations",
    "p_value": "of the record by the attack of the list: small where few non-members score as high; none: not tested",
    "told": "1 where the record is on the list of those that may be told as members, 0 where not; none: not tested",
    "pictures": "the most exposed records as pictures, in the order of the report",
    "canary_kind": "the kind of the canary: a place in the list of kinds that the run was given, from 0",
    "lira_canaries": "LiRA's score of the canary, by models that had it and that had not; larger: rather a member",
    "lira_member": "true where the model that was attacked by LiRA was trained on the canary",
    "score_canaries": "how likely the target finds the canary's label, beside the labels it might have had; as a log",
}


def column(attack: str) -> str:
    """Where an attack's scores are in scores.npz: ``score`` is the paper's attack, which came first."""
    return SCORE if attack == "shokri" else f"{SCORE}_{attack}"


def meaning(name: str, results: Results) -> str:
    """What a column of scores.npz is."""
    if name in MEANINGS:
        return MEANINGS[name]
    attack = "shokri" if name == SCORE else name.removeprefix(f"{SCORE}_")
    rule = "larger: rather a member; above 0: called one; not a number: not judged"
    return f"score of {measures.short(results, attack)}; {rule}" if column(attack) == name else "not described"


def shape(name: str, scores: Scores) -> str:
    """The axes of a column in words."""
    if name == "pictures":
        return "one picture each"
    if name == "targets":
        return f"{len(scores[name]):,} targets"
    values = scores[name]
    if values.ndim == 2:
        return f"{values.shape[0]:,} targets x {values.shape[1]:,} {_each(scores)}"
    return f"{values.size:,} {_each(scores)}"


def _each(scores: Scores) -> str:
    return "canaries" if "score_canaries" in scores else "records"


def write_csv(workdir: str | os.PathLike | places.Address) -> places.Place:
    """Write a finished run's scores.csv, a line for each record and target, whole or not at all; returns its path.

    Columns are those of scores.npz by the names there, except that ``score`` is called ``score_shokri`` and ``targets``
    ``target``; pictures are left out. Numbers are written so that they read back to the same float32.

    Raises:
        InputError: the folder holds no finished run.
    """
    path = places.place(workdir)
    with folder.believed(path):
        run = read(path)
        with places.writing(path, "scores.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_lines(run.results, run.scores))
    return path / "scores.csv"


def _lines(results: Results, scores: Scores) -> Iterator[list[str]]:
    per_target = measures.targets_in_turn(results)
    names = [n for n in scores if n not in ("pictures", "targets") and (per_target or scores[n].ndim == 1)]
    head = ["score_shokri" if name == SCORE else name for name in names]
    yield (["target"] if per_target else []) + head
    targets = scores["targets"] if per_target else [None]
    for place, target in enumerate(targets):
        values = [scores[name][place] if scores[name].ndim == 2 else scores[name] for name in names]
        for row in zip(*(map(_text, each) for each in values), strict=True):
            yield ([str(target)] if per_target else []) + list(row)


def _text(item: np.generic) -> str:
    """A number as briefly as its type allows; true and false are 1 and 0; no score is nothing."""
    if isinstance(item, np.bool_):
        return str(int(item))
    if isinstance(item, np.floating):
        return "" if np.isnan(item) else str(item)
    return str(item)
