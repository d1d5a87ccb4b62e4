"""The audit of a model that somebody else has trained: behind a URL, or known by saved predictions alone.

Shadows never see a record under question: they are trained on other data, on synthesised records, or on a half of the
non-members that is set aside before anything else. So every shadow is OUT of every record that is asked about, and of
the attacks that compare a record with itself in other models the offline ones can run.
"""

import contextlib
import dataclasses
import math
import pathlib
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import (
    artifacts,
    defences,
    deployed,
    divergence,
    doubts,
    estimators,
    formats,
    given,
    matched,
    membership,
    outside,
    platforms,
    remote,
    report,
    results,
    runs,
    saved,
    shadow_data,
    shown,
    signals,
    splits,
    stages,
    targets,
)
from mia_jax import config as configs
from mia_jax.attacks import ATTACKS, quick_first
from mia_jax.config import DeployedConfig
from mia_jax.data import copies
from mia_jax.progress import Progress, silent, within
from mia_jax.remote import urls
from mia_jax.runs import Notify
from mia_jax.stages import stage_key
from mia_jax.targets import Budget, WrongAnswer
from mia_jax.types import Attack, InputError, Records, Schema, Target
from mia_jax.words import answers as answers_told


class Found(NamedTuple):
    scores: dict[str, np.ndarray]  # attack -> [n]
    label: np.ndarray  # [n]
    member: np.ndarray | None  # bool [n], where it is known
    index: np.ndarray  # [n], rows of the user's file
    about: dict[str, dict]  # attack -> how the shadows answered by which it judged, for results.json
    no_boundary: dict[str, str]  # attack -> why it has no boundary
    confidence: np.ndarray  # [n]
    entropy: np.ndarray  # [n]
    correct: np.ndarray  # bool [n]


def run(
    config: DeployedConfig,
    *,
    command: str = "",
    notify: Notify = lambda line: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Audit the model; write results.json, scores.npz and report.html into the workdir.

    Args:
        config: with ``target`` and ``data``, or with ``predictions``.
        command, notify, progress: as of ``audit.run``.

    Returns:
        What results.json holds; without ``member`` in the data, attacks have scores and no measures.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used.
        TargetError, BudgetSpent: the service; every answer that arrived is kept and every question counted, and the
            same command goes on.
    """
    if (config.target is None) == (config.predictions is None):
        raise InputError("give --target=URL with --data=mine.npz, or --predictions=preds.npz")
    if config.predictions is not None:
        changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
        given.refuse_idle(given.RULES[DeployedConfig], changed, config)
    config = configs.resolve(config)
    if config.target is not None and config.data is None:
        raise InputError("--target needs --data: an .npz with x, y and member, the records to ask about")
    url = config.target
    if url is not None:  # a query string may hold a key
        config = dataclasses.replace(config, target=urls.identity(url))
        command = shlex.join(part.replace(url, config.target) for part in shlex.split(command))
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        settings = configs.identity(config) | dict(num_shadows=config.num_shadows, workdir=str(workdir.path))
        if url is None:
            summary, found = _predictions(config, notify, progress)
            settings = {name: value for name, value in settings.items() if name in given.WITH_PREDICTIONS}
        else:
            summary, found = _service(config, url, workdir, notify, progress)
        summary = {
            **runs.header(command, settings, plan="deployed"),
            **summary,
            "attacks": _blocks(found, summary["dataset"]["classes"], config),
            "classes_without_rows": [],
            "paper": {"rows": []},
        }
        _write(workdir, summary, found)
    return summary


# --- saved predictions -----------------------------------------------------------------------------------------------


def _predictions(config: DeployedConfig, notify: Notify, progress: Progress) -> tuple[dict, Found]:
    held = deployed.load_predictions(config.predictions)
    digest = artifacts.array_digest(*(array for array in held if array is not None))
    if worn := defences.parse(config.defences):
        held = deployed.behind(held, worn, shadows_too=config.adaptive)
    classes = held.target.shape[1]
    names, held, notes = _usable(config, held)
    known = formats.of_saved(held.target, held.shadows, dress=not worn)
    notify(f"{len(held.labels):,} records, {classes} classes, {len(held.shadows)} shadows; attacks: {', '.join(names)}")
    doubted = list(doubts.of_answers(held.labels, held.target, held.shadows))
    for line in (*doubted, *notes):
        notify(f"warning: {line}")
    began = time.perf_counter()
    judged: dict[str, saved.Scored] = {}
    parts = quick_first(names, classes)
    with progress("attacks", sum(parts.values())) as advance:
        for name, count in parts.items():
            advance(0, name)
            asked = saved.Answered(held.labels, held.target, held.shadows)
            options = dict(key=stage_key(jax.random.key(config.seed), name), progress=within(advance, count, name))
            judged[name] = saved.scored(name, asked, held.shadow_member, **options, known=known)
    told = _plain(targets.log_probabilities(held.target, known.target), held.labels)
    scores = {name: judged[name].scores for name in names}
    about = {name: judged[name].settled.json() for name in names}
    without = {name: reason for name in names if (reason := judged[name].no_boundary)}
    found = Found(scores, held.labels, held.member, np.arange(len(held.labels)), about, without, **told)
    schema = Schema(config.predictions, "local", digest, classes, (0,), ())  # the records themselves are not there
    summary = {
        "dataset": _dataset(config.predictions, schema, len(held.labels), found),
        "target": {
            **_target_block("saved predictions", found),
            "answers": known.target._asdict(),
            **({"read_as": [defence.name for defence in known.on_target]} if known.on_target else {}),
        },
        "shadows": {
            "count": len(held.shadows),
            "data": "as the predictions were made",
            "answers": shown.told(known.worn, config.defences),
            "notes": notes,
        },
        "doubts": doubted,
        "seconds": {"attack": round(time.perf_counter() - began, 3)},
    }
    return summary, found


def _usable(config: DeployedConfig, held: deployed.Predictions) -> tuple[list[str], deployed.Predictions, list[str]]:
    """The attacks, the shadows that do not give the truth away, and what is to be said of the others.

    Raises:
        InputError: who trained the shadows tells who trained the target, and that cannot be mended.
    """
    names = saved.attack_names(config.attacks, aligned=True, member=held.shadow_member)
    aligned = any(ATTACKS[name](2).aligned for name in names)
    design = membership.examine(held.shadow_member, held.member, aligned=aligned)
    if len(design.kept) < len(held.shadows):
        held = held._replace(shadows=held.shadows[design.kept], shadow_member=held.shadow_member[design.kept])
        names = saved.attack_names(config.attacks, aligned=True, member=held.shadow_member)
    share = None if held.member is None else membership.share_note(held.shadow_member, held.member)
    return names, held, [*design.notes, *([share] if share else [])]


# --- a service -------------------------------------------------------------------------------------------------------


def _service(config: DeployedConfig, url: str, workdir, notify: Notify, progress: Progress) -> tuple[dict, Found]:
    notify = runs.once(notify)
    question = deployed.load_question(config.data)
    if config.target_kind != "nn":
        platforms.platform(config.target_kind, question.schema.num_classes)
    estimators.refuse_nan(config.target_kind, question.records.x, question.schema)
    for note in question.schema.notes:
        notify(note)
    names = saved.attack_names(config.attacks, aligned=True)
    root = jax.random.key(config.seed)
    aside, asked = outside.set_aside(config, root, question)
    records = Records(question.records.x[asked], question.records.y[asked])
    sent = Records(question.sent[asked], records.y)
    member = None if question.member is None else question.member[asked]
    m = max(1, len(asked) // 2 if member is None else int(member.sum()))  # as the target, where that is known
    shadow_data.check(config, question.schema)
    names_of_classes = _class_names(config)
    known = max(question.schema.num_classes, config.num_classes or len(names_of_classes or ()))
    left = outside.queries_left(config, sent.x, m, known)
    kept = workdir.path / "target"
    budget = Budget(math.inf if left is None else config.max_queries, path=kept / "asked")
    if config.fresh:
        remote.forget(kept, url, config.protocol)
    earlier = remote.held(kept, url, config.protocol, sent.x)
    if earlier.records:
        notify(_earlier_line(earlier, config.recheck))

    def called(row: int) -> str:
        return f"row {asked[row]} of {config.data}, counted from 0,"

    with _naming(called):
        target = remote.connect(
            url,
            sent.x,
            protocol=config.protocol,
            classes=config.num_classes,
            names=names_of_classes,
            cache=kept,
            recheck=config.recheck,
            budget=budget,
            options=remote.Options(rows=config.rows_per_request, in_flight=config.in_flight, rate=config.rate),
            progress=progress,
            notify=notify,
        )
    classes = target.answers.classes
    if int(records.y.max()) >= classes:
        raise InputError(
            f"{config.data} has the label {int(records.y.max())}, and the target answers {classes} classes: number them"
            " from 0 as the target does"
        )
    schema = question.schema._replace(num_classes=classes)
    schema = runs.noted(schema, copies.note(copies.groups(question.records.x), question.member), notify)
    named = remote.names_classes(target)
    notify(f"{config.target} answers over {classes} classes")

    def answered() -> Target:
        """The target, once it has answered about all records in question: from then on they cost nothing."""
        notify(f"Asking the target about {len(records.y):,} records")
        nonlocal target
        with _naming(called), runs.timed(seconds, "questions"):
            target = targets.settle(target, sent.x)
        notify(f"It answers with {answers_told(target.answers._asdict())}{_assumed(target, named)}")
        return target

    seconds: dict[str, float] = {}
    with runs.timed(seconds, "shadow_data"), _naming(lambda row: "a synthesised record"):
        own = Records(question.records.x[aside], question.records.y[aside])
        again = (
            f" #{earlier.generation}" if earlier.generation else ""
        )  # what an older model helped to make is not used
        limited = dataclasses.replace(config, max_queries=left, target=config.target + again)
        pool, plan, origin, story = outside.obtain(
            limited, workdir, root, own, schema, records.x, answered, m, notify, progress
        )
    if "questions" not in seconds:  # the shadow data came without the target
        answered()
    key = stage_key(root, "shadows")
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(len(plan.train)))
    arguments = (workdir, config, schema, pool, artifacts.array_digest(*pool), keys, plan.train)
    shadow = stages.build_models(config)(*arguments, title="shadow models", progress=progress, notify=notify)

    options = {"shokri": runs.shokri_options(config)} if "shokri" in names else {}
    parts = quick_first(names, classes, options)

    def build(part_done: Callable[[float], None]) -> dict[str, Attack]:
        kept = {"shokri": {"remember": stages.remembering(workdir, "attack", part_done)}} if options else {}
        return {name: ATTACKS[name](classes, **options.get(name, {}), **kept.get(name, {})) for name in names}

    began = time.perf_counter()
    worn = shown.worn(target.answers, defences.parse(config.defences))

    def attack(shadow: stages.Models, which: np.ndarray):
        theirs = splits.Plan(*(np.asarray(rows)[which] for rows in plan))
        looked = (shadow, pool, theirs, records, shown.Asked(target, sent), worn)
        return shown.attack(root, build, parts, *looked, progress), which

    attacked, which = divergence.going_on(shadow, attack, "shadow models", config, notify)
    took = time.perf_counter() - began - shadow.spent()
    seconds |= {"shadows": shadow.seconds(), "attack": took}
    about = attacked.about, attacked.no_boundary
    found = Found(attacked.scores, np.asarray(records.y, np.int32), member, asked, *about, **attacked.plain)
    own = float(attacked.accuracy[1].mean())
    doubted = doubts.of_service(found.label, np.argmax(target.ask(sent.x), axis=1), classes, own)
    for line in doubted:
        notify(f"warning: {line}")
    summary = {
        "dataset": _dataset(config.data, schema, len(question.records.y), found),
        "target": {
            **_target_block("a service", found),
            "url": config.target,
            "answers": target.answers._asdict(),
            **({"assumed": assumed.strip(" ()")} if (assumed := _assumed(target, named)) else {}),
            "records_asked": budget.spent,  # by all runs in this workdir
            **({"answers_of_earlier_runs": _earlier_block(earlier, config.recheck)} if earlier.records else {}),
        },
        "shadows": results.summarise_shadows(
            len(which),
            plan.train.shape[1],
            *attacked.accuracy,
            data=origin,
            answers=shown.told(worn, config.defences),
            **({"synthesis": story} if story else {}),
            **divergence.story(shadow, which),
        ),
        "doubts": list(doubted),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    return summary, found


def _assumed(target: Target, names_classes: bool) -> str:
    """What is taken for granted of the format, in brackets; nothing where the service says it itself."""
    if target.answers.kind != "labels" or names_classes:
        return ""
    return " (every answer was 1 for one class and 0 for the others: they are taken for labels)"


def _class_names(config: DeployedConfig) -> list[str] | None:
    """The names in ``--class_names``."""
    if config.class_names is None:
        return None
    names = [name.strip() for name in config.class_names.split(",")]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise InputError(f"--class_names={config.class_names} must be names, each once, as in setosa,versicolor")
    if config.num_classes not in (None, len(names)):
        raise InputError(f"--class_names has {len(names)} names and --num_classes={config.num_classes}: leave one out")
    return names


@contextlib.contextmanager
def _naming(called: Callable[[int], str]) -> Iterator[None]:
    """Say of a wrong answer what the user calls the record: its number in a question means nothing to them."""
    try:
        yield
    except WrongAnswer as wrong:
        if wrong.known_as:
            raise
        line = f"{wrong.reason}; mend the service, or ask about other records"
        raise WrongAnswer(wrong.record, line, called(wrong.record)) from None


def _earlier_line(earlier: remote.Earlier, recheck: int) -> str:
    """What a run begins with that uses answers of earlier ones."""
    spread = earlier.oldest if earlier.oldest == earlier.newest else f"{earlier.oldest} to {earlier.newest}"
    trust = "some of them are asked for again" if recheck else "they are trusted (--recheck=0)"
    return f"{earlier.records:,} records were answered by earlier runs ({spread}); {trust}; --fresh asks all again"


def _earlier_block(earlier: remote.Earlier, recheck: int) -> dict[str, Any]:
    told = {"records": earlier.records, "oldest": earlier.oldest, "newest": earlier.newest}
    return told | {"rechecked": bool(recheck)}


# --- results ---------------------------------------------------------------------------------------------------------


def _plain(log_p: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "confidence": np.asarray(signals.confidence(log_p, label)),
        "entropy": np.asarray(signals.normalized_entropy(log_p)),
        "correct": log_p.argmax(axis=1) == label,
    }


def _blocks(found: Found, classes: int, config: DeployedConfig) -> dict[str, Any]:
    if found.member is None:
        return {
            name: {"title": runs.title(name), "reason": "the data do not say who is a member"} for name in found.scores
        }
    arguments = (found.member, found.label, classes)
    proven = dict(delta=config.dp_delta, seed=config.seed, attacks=len(found.scores))
    blocks = {}
    for name, score in found.scores.items():
        block = results.attack(score, *arguments, runs.title(name), no_boundary=found.no_boundary.get(name))
        blocks[name] = block | {
            "shadows": found.about[name],
            "epsilon": matched.from_scores(score, found.member, **proven),
        }
    return blocks


def _dataset(path: str, schema: Schema, records: int, found: Found) -> dict[str, Any]:
    mine = found.label if found.member is None else found.label[found.member]
    file = pathlib.Path(path).name
    title = file if schema.source == "local" else f"{file} ({schema.name})"
    return results.dataset(schema, title, records, np.bincount(mine, minlength=schema.num_classes)) | {
        "name": results.printable(str(path))
    }


def _target_block(title: str, found: Found) -> dict[str, Any]:
    if found.member is None:
        return {"kind": title, "train_records": 0, "test_accuracy": float(found.correct.mean())}
    return {
        "kind": title,
        "train_records": int(found.member.sum()),
        "train_accuracy": float(found.correct[found.member].mean()),
        "test_accuracy": float(found.correct[~found.member].mean()),
    }


def _write(workdir: artifacts.Workdir, summary: dict[str, Any], found: Found) -> None:
    columns = {runs.column(name): score.astype(np.float32) for name, score in found.scores.items()}
    known = {} if found.member is None else {"member": found.member}
    shared = {"label": found.label, "index": found.index, "confidence": found.confidence, "entropy": found.entropy}
    workdir.claim()  # of saved predictions there is no artefact, and a folder with scores alone would be somebody's
    artifacts.write_npz(workdir.path / "scores.npz", {**known, **shared, **columns})
    artifacts.write_json(workdir.path / "results.json", summary)
    if found.member is not None:
        report.write_report(workdir.path)
