"""What a served target answers: requests of the protocols read, the target asked, replies written.

The Open Inference Protocol v2, ``:predict``, ``/invocations`` (JSON and CSV), Google Prediction v1.6 and Amazon ML
``Predict``, one record or many a call. What services hide can be hidden: all but the k best classes, digits, all but
the label.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.targets.remote.protocols import DATATYPES, dumps, loads
from mia_jax.types import Target

MOST_NUMBERS = 2**21  # probabilities in a reply


class Shown(NamedTuple):
    """What of an answer is shown."""

    top_k: int | None = None  # the k best classes; the others are zeros, or left out where a protocol names classes
    digits: int | None = None  # decimal places
    label_only: bool = False


class Refusal(Exception):
    """A request that gets an error status."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status, self.headers = status, headers or {}


class Reply(NamedTuple):
    """What a target answers to a request, as far as it is shown."""

    p: np.ndarray  # [b, c], as far as it is shown; zero where it is not
    sent: np.ndarray  # bool [b, c]: the classes that are shown
    label: np.ndarray  # [b]
    label_only: bool


def answering(target: Target, shape: tuple[int, ...], dtype: np.dtype, shown: Shown) -> Callable[[np.ndarray], Reply]:
    """A function that answers records [b, ...], in the shape that a request gives them.

    Args:
        target: asked about them, as records [b, *f].
        shape: *f.
        dtype: of the records that the target expects.
        shown: what of the answers is shown.

    Returns:
        rows [b, ...] -> Reply; it raises Refusal for rows that are no records.
    """
    ask = jax.jit(target.ask) if target.traced else target.ask

    def answer(rows: np.ndarray) -> Reply:
        if rows.ndim < 1 or len(rows) == 0 or rows[0].size != math.prod(shape):
            raise Refusal(400, f"a record has shape {shape}, and the request has {rows.shape}")
        if len(rows) * target.answers.classes > MOST_NUMBERS:
            raise Refusal(413, f"more than {max(1, MOST_NUMBERS // target.answers.classes):,} records in a request")
        try:
            rows = rows.reshape(len(rows), *shape)
            if rows.dtype.kind not in "biu" and not np.isfinite(rows.astype(np.float64)).all():
                raise Refusal(400, "the records have a number that is not finite")
            with np.errstate(invalid="ignore", over="ignore"):
                x = rows.astype(dtype)
        except (ValueError, TypeError, OverflowError):
            raise Refusal(400, "the records are not numbers") from None
        if target.traced:  # few shapes to compile for
            padding = [(0, 2 ** math.ceil(math.log2(len(x))) - len(x)), *[(0, 0)] * len(shape)]
            x = np.pad(x, padding)
        p = np.exp(np.asarray(ask(x), np.float64))[: len(rows)]
        label = p.argmax(axis=1)
        rank = np.argsort(np.argsort(-p, axis=1, kind="stable"), axis=1)
        sent = rank < (p.shape[1] if shown.top_k is None else shown.top_k)
        p = np.where(sent, p if shown.digits is None else p.round(shown.digits), 0.0)
        return Reply(p, sent, label, shown.label_only)

    return answer


def parse(path: str, headers: Mapping[str, str], body: bytes) -> np.ndarray:
    """The records that a request asks about, [b, ...] with the shape that it gives them.

    Raises:
        Refusal: 400 for a request that is none.
    """
    try:
        if "csv" in headers.get("content-type", ""):
            return np.array([[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()])
        value = loads(body)
        if "inputs" in value and path.endswith("/infer"):
            tensor = value["inputs"][0]
            return np.asarray(tensor["data"]).reshape(tensor["shape"])
        if "input" in value:
            return np.asarray([value["input"]["csvInstance"]], np.float64)
        if "Record" in value:
            return np.asarray([[float(value["Record"][f"f{j}"]) for j in range(len(value["Record"]))]])
        return np.asarray(value["instances"] if "instances" in value else value["inputs"])
    except Exception:  # whatever odd values make of JSON readers and NumPy
        raise Refusal(400, "the request cannot be read") from None


def reply_body(path: str, headers: Mapping[str, str], name: str, labels: Sequence[str], reply: Reply) -> bytes:
    """The reply in the protocol of the request."""
    p, best = reply.p, reply.label
    scores = {labels[c]: p[0, c] for c in np.flatnonzero(reply.sent[0])} if not reply.label_only else {}
    if path.endswith("/infer"):
        return dumps({"model_name": name, "outputs": [_tensor(reply)]})
    if "/trainedmodels/" in path:
        many = [{"label": label, "score": repr(float(score))} for label, score in scores.items()]
        return dumps({"kind": "prediction#output", "outputLabel": labels[best[0]], "outputMulti": many})
    if "x-amz-target" in headers:
        return dumps({"Prediction": {"predictedLabel": labels[best[0]], "predictedScores": scores}})
    if "csv" in headers.get("content-type", ""):
        return b"\n".join(dumps(row)[1:-1] for row in (best[:, None] if reply.label_only else p)) + b"\n"
    return dumps({"predictions": best if reply.label_only else p})


def _tensor(reply: Reply) -> dict[str, Any]:
    name, values = ("predict", reply.label) if reply.label_only else ("predict_proba", reply.p)
    datatype = f"{DATATYPES[values.dtype.kind]}{8 * values.dtype.itemsize}"
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": values.reshape(-1)}
