"""Pages and folders of runs, for the tests of the reports: made of drawn scores, as the audits would leave them."""

import ast
import html.parser
import json
import pathlib
import re

import jax
import numpy as np

from mia_jax.attacks import ATTACKS
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.balanced.scores import Judged
from mia_jax.audits.common import column
from mia_jax.audits.plans import balanced
from mia_jax.plans import splits
from mia_jax.reports import examples, results
from mia_jax.reports.paper import rows as paper_rows
from mia_jax.statistics import matched_pairs, metrics, overlap, per_record, screens, thresholds
from mia_jax.types import Field, Records, Schema

HOSTILE = "<script>alert('x')</script> & \"co\""
SKILL = {name: 2.6 - 0.085 * k for k, name in enumerate(ATTACKS)}  # d' of members' scores: the first is the best
K = 8
TINY = dict(names=("gap", "lira", "label_only"), n=40, classes=2, targets=2, title_=HOSTILE, costly=12)


# --- runs -----------------------------------------------------------------------------------------------------------


def paper_run(
    workdir,
    name="location",
    *,
    classes=30,
    m=1200,
    leak=2.5,
    source="official",
    title=None,
    curves=True,
    accuracy=(1.0, 0.57),
    without=(),
    silent=(),
    more=(),
):
    """A run's folder as audits/plans/shokri.py leaves it; draws of what networks would answer replace them.

    ``leak``: by how many standard deviations members' confidence exceeds others'. ``without``: classes that the shadows
    have no rows of. ``silent``: classes of which no record is called a member. ``more``: further attacks.
    """
    rng = np.random.default_rng(7)
    share = rng.dirichlet(np.full(classes, 3.0))
    label = np.tile(rng.choice(classes, m, p=share), 2).astype(np.int32)
    label[:classes] = label[m : m + classes] = np.arange(classes)
    member = np.arange(2 * m) < m
    logit = rng.normal(1.0, 1.8, 2 * m) + leak * member
    confidence = (1 / (1 + np.exp(-logit))).astype(np.float32)
    score = (logit - 1.0 - leak / 2 + rng.normal(0, 0.4, 2 * m)).astype(np.float32)
    score[np.isin(label, silent)] = -5 + rng.normal(0, 0.1, 2 * m)[np.isin(label, silent)]
    score[np.isin(label, without)] = np.nan
    columns = {
        "shokri": score,
        "confidence": confidence - np.float32(0.8),
        "majority": np.ones(2 * m, np.float32),
        **{extra: (logit - 2).astype(np.float32) for extra in more},
    }
    titles = {"shokri": "Shadow models, one attack network per class (Shokri et al. 2017)", "confidence": "Confidence"}
    target = dict(zip(("train_accuracy", "test_accuracy"), accuracy, strict=True))
    steps = np.linspace(0, 1, 100 if curves else 0)
    loss = np.exp(-4 * steps)[None] * rng.uniform(2.8, 3.4, (12, 1))
    schema = Schema(name, source, "0123abcd" * 8, classes, (446,), (), (f"Note on {name}.",))
    shadow = results.summarize_shadows(
        12, m, accuracy[:1], accuracy[1:], data="simulated" if source == "simulated" else "real"
    )
    if curves:
        shadow = {**shadow, "curves": results.curves(loss, 1 - 0.9 * loss / 3.4)}
    summary = {
        "schema": 1,
        "command": f"python scripts/train.py --dataset={name} --num_shadows=12",
        "date": "2026-11-24T10:00:00+00:00",
        "machine": "Linux x86_64, 2 cores",
        "config": {"dataset": name, "seed": 0, "train_size": m, "learning_rate": 1e-3, "model": None},
        "versions": results.versions(),
        "devices": ["cpu:0 (cpu)", "cpu:1 (cpu)"],
        "dataset": results.dataset(schema, title or name, 5 * m, np.bincount(label[:m], minlength=classes)),
        "target": {"kind": "nn", "model": "mlp", "train_records": m, **target},
        "shadows": shadow,
        "attacks": {
            key: results.attack(column, member, label, classes, titles.get(key, f"{key}, an attack"))
            for key, column in columns.items()
        },
        "classes_without_rows": list(without),
        "paper": {"rows": [row._asdict() for row in paper_rows(name)]},
        "seconds": {"data": 0.41, "target": 2.2, "shadows": 61.5, "attack": 9.03, "evaluation": 1.2},
    }
    arrays = {("score" if key == "shokri" else f"score_{key}"): column for key, column in columns.items()}
    entropy = (1 - confidence) * rng.uniform(0.6, 1.0, 2 * m)
    workdir.mkdir(parents=True)
    (workdir / "results.json").write_text(json.dumps(summary, allow_nan=False))
    np.savez(
        workdir / "scores.npz",
        member=member,
        label=label,
        index=np.arange(2 * m),
        confidence=confidence,
        entropy=entropy.astype(np.float32),
        **arrays,
    )
    return workdir


def folder_of(workdir, summary, **arrays):
    workdir.mkdir(parents=True)
    (workdir / "results.json").write_text(json.dumps(summary, allow_nan=False))
    np.savez(workdir / "scores.npz", **arrays)
    return workdir


def base(name, plan, source, title_, classes, n, config):
    return {
        "schema": 1,
        "plan": plan,
        "command": f"python scripts/audit.py --dataset={name}",
        "date": "2026-11-25T10:00:00+00:00",
        "machine": "Linux x86_64, 2 cores",
        "config": {"dataset": name, "seed": 0, "defences": "", "model": None, **config},
        "versions": results.versions(),
        "devices": ["cpu:0 (cpu)"],
        "dataset": results.dataset(
            Schema(name, source, "0123abcd" * 8, classes, (12,), ()), title_ or name, n, np.full(classes, n // classes)
        ),
        "paper": {"rows": []},
        "seconds": {"data": 0.4, "attack": 9.1},
    }


def audited(
    workdir,
    *,
    names=tuple(name for name in ATTACKS if name != "majority"),
    n=3000,
    classes=6,
    targets=3,
    source="official",
    title_=None,
    pixels=False,
    costly=60,
    leak=1.0,
    few=(),
):
    """A folder as audits/plans/balanced.py leaves it: its own functions count, and only the scores are drawn.

    ``costly``: records that the attacks that ask much judged. ``few``: attacks without thresholds and curves.
    """
    rng = np.random.default_rng(3)
    label = (np.arange(n) % classes).astype(np.int32)
    plan = splits.balanced(jax.random.key(0), n, K)
    member = splits.membership_matrix(plan, n)
    fields = (Field("pixels", "pixel", 0, 12, 0.0, 255.0),) if pixels else (Field("bits", "binary", 0, 12),)
    schema = Schema("toy", source, "0123abcd" * 8, classes, (2, 2, 3) if pixels else (12,), fields)
    x = rng.integers(0, 256 if pixels else 2, (n, *schema.shape)).astype(np.uint8)
    played = np.arange(targets) * 2
    setting = BalancedSetting(
        jax.random.key(0), Records(x, label), schema, np.arange(n), np.zeros(0, int), plan, member, played, ()
    )
    columns, blocks = {}, {}
    for name in names:
        score = rng.normal(0, 1, (targets, n)) + leak * SKILL[name] * (member[played] - 0.5)
        if name in ("label_only", "boundary", "trajectory"):
            score[:, costly:] = np.nan
        chosen, curve = {f"{rate:g}": [] for rate in metrics.RATES}, {}
        if "lira" in name or "rmia" in name:
            for s, m in zip(score, member[played], strict=True):
                for rate in metrics.RATES:
                    threshold = thresholds.threshold_at_fpr(rng.permuted(s[~m]), np.arange((~m).sum()) % 2 == 0, rate)
                    chosen[f"{rate:g}"].append(threshold)
                for count in (1, 2, 4, 6):
                    noisy = s + rng.normal(0, 2 / count, n)
                    curve.setdefault(count, []).append(noisy)
        if name in few:
            chosen, curve = {}, {}
        columns[name] = score.astype(np.float32)
        blocks[name] = balanced.attack_block(setting, label, name, Judged(columns[name], chosen, curve))
        blocks[name]["epsilon"] = matched_pairs.from_scores(
            columns[name], member[played], delta=1e-5, attacks=len(names)
        )
    phi = rng.normal(0, 1, (K, n)) + leak * 2 * member
    exposed = per_record.summarize(phi, member, label, np.arange(n), classes, columns)
    most = x[[row["index"] for row in exposed["records"]]]
    pictures = examples.pictures(schema, most)
    if not pixels:
        for row, text in zip(exposed["records"], examples.attributes(schema, most), strict=True):
            row["attributes"] = text
    summary = base("toy", "balanced", source, title_, classes, n, {"workdir": str(workdir)}) | {
        "target": {"kind": "nn", "model": "mlp", "train_records": n // 2, "train_accuracy": 1.0, "test_accuracy": 0.6},
        "shadows": {"count": K - 2, "models": K, "data": "balanced"},
        "attacks": blocks,
        "exposure": exposed,
    }
    arrays = {column(name): score for name, score in columns.items()}
    shared = dict(member=member[played], label=label, index=np.arange(n), targets=played)
    separation = per_record.separation(phi, member)
    extra = {"pictures": pictures} if pixels else {}
    judged = {"member": member[played], **arrays}
    summary |= {"screens": screens.block(judged), "overlap": overlap.block(judged)}
    return folder_of(workdir, summary, **shared, separation=separation, **extra, **arrays)


# --- pages ----------------------------------------------------------------------------------------------------------


class Outline(html.parser.HTMLParser):
    """Checks that tags balance, and keeps the text of each element by tag."""

    VOID = frozenset({"meta", "img", "wbr"})

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.found, self.tags, self.visible = [], {}, [], []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
            self.found.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        for tag in set(self.open):
            self.found[tag][-1] += data
        if not {"style", "script"} & {*self.open}:
            self.visible.append(data)


def visible(page):
    outline = Outline(page)
    alts = [attrs["alt"] for tag, attrs in outline.tags if tag == "img"]
    return " ".join(outline.visible + outline.found["code"] + alts)


def check_links(outline):
    """Ids are unique, and the contents lead to every section of the page and nowhere else."""
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    sections = [attrs["id"] for tag, attrs in outline.tags if tag == "section"]
    assert [attrs["href"] for _, attrs in outline.tags if "href" in attrs] == [f"#{name}" for name in sections]
    assert len(sections) >= 6


def check_page(folder, text, plots):
    """Well formed, self-contained, nothing empty, nothing unexplained."""
    outline = Outline(text)
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    assert not [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe")]
    check_links(outline)
    for tag, attrs in outline.tags:
        assert attrs.get("src", "data:").startswith("data:")
        assert tag != "img" or len(attrs["alt"]) > 30
    assert not re.search(r"\b(None|nan|NaN|inf|null|True|False)\b", visible(text))
    for tag in ("h1", "h2", "h3", "p", "li", "dt", "dd", "td", "th", "caption", "figcaption", "code", "small"):
        assert all(content.strip() for content in outline.found.get(tag, [])), tag
    assert [tag for tag, _ in outline.tags].count("table") == len(outline.found["caption"])
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn <= {plot.__name__ for plot in plots} | {"confidence", "entropy"}
    assert len(drawn) == text.count("<img ")
    for path in (folder / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    return drawn


def check_imports(module):
    """A module of ``reports`` never imports jax, nor plotting at its top."""
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    everywhere = {name for node in ast.walk(tree) for name in _imported(node)}
    top = {name for node in tree.body for name in _imported(node)}
    assert not {name for name in everywhere if name.split(".")[0] in ("jax", "flax", "optax")}
    assert not {name for name in top if name.startswith("matplotlib")}
    assert not {name for name in everywhere if "pyplot" in name}


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []
