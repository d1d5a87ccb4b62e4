"""How prediction services are spoken to: one ``Codec`` per dialect, pure functions between arrays and bytes.

Open Inference Protocol v2 (KServe, Triton, MLServer, OpenVINO); TensorFlow Serving, Vertex AI and KServe V1
``:predict``; SageMaker and MLflow ``/invocations``; a bare ``POST /predict`` of JSON, as of a few lines of FastAPI or
Flask; and the two services that the paper attacked, which are gone:
Google Prediction API v1.6 and Amazon ML's real-time ``Predict``, both with one record a call.

A protocol leaves open what a service answers; that is for ``replies`` to find out.
"""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.targets.remote import tensors
from mia_jax.targets.remote.replies import Reply, elements
from mia_jax.targets.remote.urls import public

try:
    import orjson  # encodes floats some 15 times faster
except ImportError:
    orjson = None

JSON = {"content-type": "application/json"}
CSV = {"content-type": "text/csv"}


class Codec(NamedTuple):
    """One dialect: how a question is written, and its reply read."""

    name: str
    headers: Mapping[str, str]
    encode: Callable[[np.ndarray], bytes]  # records [b, *f] -> body
    decode: Callable[[bytes, int], Reply]  # (body, b) -> reply; ValueError, KeyError, TypeError where it is none
    max_rows: int | None = None  # records a call may hold


# --- bytes -----------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """JSON of a value that may hold NumPy arrays; integers stay integers, floats keep every digit of their type."""
    if orjson is not None:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, default=lambda array: array.tolist(), separators=(",", ":")).encode()


def loads(body: bytes) -> Any:
    """A JSON value; NaN is read although JSON has none: what is wrong with an answer is said in one place."""
    if orjson is not None:
        try:
            return orjson.loads(body)
        except ValueError:
            pass
    return json.loads(body)


def outline(body: bytes) -> str | None:
    """The outline of a JSON value; None where the body is none."""
    try:
        return sanitize.outline(loads(body))
    except (ValueError, RecursionError):
        return None


def _numbers(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.astype(np.uint8) if x.dtype == bool else x)


def _csv(x: np.ndarray) -> bytes:
    return b"\n".join(dumps(row)[1:-1] for row in _numbers(x.reshape(len(x), -1))) + b"\n"


def _read_any(body: bytes, b: int) -> Reply:
    """A JSON reply of one of the usual forms, or CSV."""
    try:
        return elements(loads(body), b)
    except json.JSONDecodeError:
        if body.lstrip()[:1] in (b"{", b"[", b"<"):  # JSON that was cut off, or a web page
            raise
        rows = [[_cell(cell) for cell in line.split(",")] for line in body.decode().strip().splitlines()]
        if len(rows) == 1 and b > 1 and len(rows[0]) == b:  # some answer all records in one line
            rows = [[cell] for cell in rows[0]]
        if not rows or rows == [[""]] or any(len(row) != len(rows[0]) for row in rows):
            raise
        return [row if len(row) > 1 else row[0] for row in rows]


def _cell(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip().strip('"')


# --- dialects --------------------------------------------------------------------------------------------------------


def _wrapped(name: str) -> Codec:
    """JSON records under one name, predictions as JSON: TensorFlow Serving's row format and its descendants."""
    return Codec(f'JSON "{name}"', JSON, lambda x: dumps({name: _numbers(x)}), _read_any)


INSTANCES, INPUTS, DATA = (_wrapped(name) for name in ("instances", "inputs", "data"))
BARE = Codec("JSON list", JSON, lambda x: dumps(_numbers(x)), _read_any)
COMMAS = Codec("CSV", CSV, _csv, _read_any)

DATATYPES = {"b": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}


def oip(input_name: str = "input-0", datatype: str | None = None, output: str | None = "predict_proba") -> Codec:
    """Open Inference Protocol v2, with tensors as JSON.

    Args:
        input_name, datatype: as the model's metadata give them; where they do not, the datatype is that of the records.
        output: the output to ask for; None asks for whatever the model gives.
    """

    def encode(x: np.ndarray) -> bytes:
        bits = "" if x.dtype == bool else str(8 * x.dtype.itemsize)
        tensor = {
            "name": input_name,
            "shape": list(x.shape),
            "datatype": datatype or DATATYPES[x.dtype.kind] + bits,
            "data": np.ascontiguousarray(x if x.dtype == bool and datatype is None else _numbers(x)).reshape(-1),
        }
        return dumps({"id": "mia", "inputs": [tensor], **({"outputs": [{"name": output}]} if output else {})})

    def decode(body: bytes, b: int) -> Reply:
        return tensors.answers(loads(body)["outputs"], b)

    return Codec(f"outputs {output or 'of its own'}", JSON, encode, decode)


def _google_encode(x: np.ndarray) -> bytes:
    return dumps({"input": {"csvInstance": _numbers(x[0].reshape(-1))}})


def _google_decode(body: bytes, b: int) -> Reply:
    del b
    value = loads(body)
    many = value.get("outputMulti")
    return [{m["label"]: float(m["score"]) for m in many} if many else value["outputLabel"]]


GOOGLE = Codec("csvInstance", JSON, _google_encode, _google_decode, max_rows=1)


def amazon(model: str, endpoint: str) -> Codec:
    """Amazon ML's real-time ``Predict``: a record of strings, attributes f0, f1, ..."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonML_20141212.Predict"}

    def encode(x: np.ndarray) -> bytes:
        record = {f"f{j}": str(value) for j, value in enumerate(_numbers(x[0].reshape(-1)).tolist())}
        return dumps({"MLModelId": model, "PredictEndpoint": endpoint, "Record": record})

    def decode(body: bytes, b: int) -> Reply:
        del b
        prediction = loads(body)["Prediction"]
        return [prediction.get("predictedScores") or prediction["predictedLabel"]]

    return Codec("Predict", headers, encode, decode, max_rows=1)


def dialects(protocol: str, url: str, metadata: Mapping[str, Any] | None = None) -> list[Codec]:
    """The dialects worth trying, in order of what they would tell.

    Args:
        metadata: what an Open Inference server says of the model; may be empty, and often is.
    """
    match protocol:
        case "oip":
            inputs, outputs = (_tensors(metadata, key) for key in ("inputs", "outputs"))
            likely = [o["name"] for o in outputs if "prob" in o["name"].lower()] or ["predict_proba"]
            name, datatype = (inputs[0]["name"], inputs[0].get("datatype")) if inputs else ("input-0", None)
            first = (name, datatype if isinstance(datatype, str) else None)
            return [oip(*first, output) for output in (*likely[: len(likely) == 1], None)]  # a class each, perhaps
        case "vertex":
            return [INSTANCES]
        case "sagemaker":
            return [INSTANCES, COMMAS, INPUTS]
        case "mlflow":
            return [INPUTS, INSTANCES, COMMAS]
        case "json":
            return [INSTANCES, INPUTS, DATA, BARE]
        case "google":
            return [GOOGLE]
        case _:
            return [amazon(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1] or "model", public(url))]


def _tensors(metadata: Mapping[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The tensors that metadata describe, as far as they do."""
    tensors = (metadata or {}).get(key)
    if not isinstance(tensors, list):
        return []
    return [t for t in tensors if isinstance(t, dict) and isinstance(t.get("name"), str)]
