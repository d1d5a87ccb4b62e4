"""A finished audit in a notebook: its verdict, its table and its ROC on the page, its numbers by name. Never JAX."""

import base64
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mia_jax.reports import measures, render, report, terminal, verdict
from mia_jax.reports.columns import column
from mia_jax.reports.results import Results, read
from mia_jax.reports.words import percent
from mia_jax.statistics.metrics import Measure
from mia_jax.storage import places
from mia_jax.storage.files import json_text
from mia_jax.types import InputError

DRAWN = 6  # attacks in the figure, the best ones


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What one attack found; a measure is a number with its 95 % interval, or the reason why there is none."""

    name: str
    title: str
    scores: np.ndarray  # float32 [n], larger = more likely a member, 0 = the boundary; NaN: not judged
    auc: Measure
    tpr_at_fpr: dict[float, Measure]  # false-positive rate -> members found
    accuracy: Measure
    balanced_accuracy: Measure
    precision: Measure
    recall: Measure
    epsilon: float | None  # the lower bound that this attack proves by itself
    block: Mapping[str, Any]  # of results.json

    def __str__(self) -> str:
        return f"{self.title}: AUC {self.auc}"


class AuditResult(Mapping[str, AttackResult]):
    """What an audit found: ``result["lira"].auc``, a page in a notebook, ``to_frame()``, ``save(folder)``.

    Args:
        results: of results.json.
        scores: of scores.npz.
    """

    def __init__(self, results: Results, scores: Mapping[str, np.ndarray]):
        self.results, self.scores = results, dict(scores)

    def __getitem__(self, attack: str) -> AttackResult:
        try:
            return _attack(attack, self.results["attacks"][attack], self.scores[column(attack)])
        except KeyError:
            raise KeyError(f"{attack} did not run; there are {', '.join(self.results['attacks'])}") from None

    def __iter__(self) -> Iterator[str]:
        """The attacks, the strongest first."""
        return iter(measures.ranked(self.results))

    def __len__(self) -> int:
        return len(self.results["attacks"])

    @property
    def verdict(self) -> str:
        """What an attacker achieves against guessing, in a paragraph."""
        return verdict.verdict(self.results)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is doubted, what is to be said of shadows and attacks that did not run, and as what data were read."""
        return (*self.results.get("doubts", ()), *self.results["shadows"].get("notes", ()), *self._read_as())

    def _read_as(self) -> tuple[str, ...]:
        """As what a user's own records, labels and answers were read, in sentences."""
        data = self.results["dataset"]
        return tuple(data.get("notes", ())) if data["source"] == "local" else ()

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each attack, the strongest first: its measures and the ends of their intervals."""
        return [_row(self[name]) for name in self]

    def to_frame(self) -> Any:
        """``rows`` as a pandas data frame, attacks by name.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("to_frame needs pandas: pip install pandas, or use rows()") from None
        return pandas.DataFrame(self.rows()).set_index("attack")

    def save(self, folder: str | os.PathLike) -> places.Place:
        """Write results.json, scores.npz, report.html and its figures, as a script's run leaves them.

        Args:
            folder: made where it is missing; or an address, as s3://bucket/audit.

        Returns:
            The path of report.html.

        Raises:
            InputError: the folder cannot be written.
        """
        path = places.place(folder)
        try:
            with places.writing(path, "scores.npz") as partial, open(partial, "wb") as file:
                np.savez(file, **self.scores)  # ty: ignore[invalid-argument-type]  (none is called allow_pickle)
            settings = {**self.results["config"], "workdir": str(path)}
            with places.writing(path, "results.json") as partial:
                partial.write_text(json_text({**self.results, "config": settings}), encoding="utf-8")
            return report.write_report(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another folder") from None

    def __repr__(self) -> str:
        return terminal.terminal_table(self.results, notes=self._read_as())

    def _repr_html_(self) -> str:
        """The verdict, the table of attacks and the ROC, for a notebook."""
        results = self.results
        shown = [float(rate) for rate in measures.rates(results) if measures.strongest(results, rate)]
        found = [f"Found at {percent(rate)} false alarms" for rate in shown]
        return (
            render.environment()
            .get_template("notebook.html")
            .render(
                mark="SIMULATED" if results["dataset"]["source"] == "simulated" else "",
                heading=verdict.heading(results),
                verdict=self.verdict,
                notes=(*results["shadows"].get("notes", ()), *self._read_as()),
                attacks=[self[name] for name in self] if measures.measured(results) else [],
                head=["Attack", "AUC", *found, "Balanced accuracy", "Epsilon, at least"],
                rates=shown,
                short={name: measures.short(results, name) for name in self},
                roc=self._roc(),
            )
        )

    def _roc(self) -> str | None:
        """The ROC of the best attacks as a picture in a URL; None where there is none."""
        if not measures.measured(self.results):
            return None
        from matplotlib.figure import Figure

        from mia_jax.reports.roc import draw_roc

        best = [name for name in self if self[name].auc.value is not None][:DRAWN]
        if not best:
            return None
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        drawn = {measures.short(self.results, name): self.scores[column(name)] for name in best}
        draw_roc(drawn, self.scores["member"], ax=figure.subplots())
        svg = io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}"


def opened(folder: str | os.PathLike) -> AuditResult:
    """The audit that a finished run has left in a folder.

    Raises:
        InputError: there is none.
    """
    results, scores, _ = read(folder)
    return AuditResult(results, scores)


def _attack(name: str, block: Mapping[str, Any], scores: np.ndarray) -> AttackResult:
    absent = Measure(None, reason=block.get("reason", "not measured"))

    def measure(key: str) -> Measure:
        return _measure(block.get(key)) or absent

    at = {float(rate): _measure(value) or absent for rate, value in block.get("tpr_at_fpr", {}).items()}
    keys = ("auc", "accuracy", "balanced_accuracy", "precision", "recall")
    return AttackResult(
        name,
        block["title"],
        np.asarray(scores),
        tpr_at_fpr=at,
        epsilon=measures.epsilon_low(block.get("epsilon")),
        block=block,
        **{key: measure(key) for key in keys},
    )


def _measure(value: Any) -> Measure | None:
    return Measure(**value) if isinstance(value, Mapping) else None


def _row(attack: AttackResult) -> dict[str, Any]:
    measures = {"auc": attack.auc, **{f"tpr@{rate:g}": value for rate, value in attack.tpr_at_fpr.items()}}
    measures |= {key: getattr(attack, key) for key in ("accuracy", "balanced_accuracy", "precision", "recall")}
    row: dict[str, Any] = {"attack": attack.name}
    for name, measure in measures.items():
        row |= {name: measure.value, f"{name}.low": measure.low, f"{name}.high": measure.high}
    return row | {"epsilon": attack.epsilon}
