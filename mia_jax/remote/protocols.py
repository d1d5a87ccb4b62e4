"""How prediction services are spoken to: one ``Codec`` per dialect, pure functions between arrays and bytes.

Open Inference Protocol v2 (KServe, Triton, MLServer, OpenVINO); TensorFlow Serving, Vertex AI and KServe V1
``:predict``; SageMaker and MLflow ``/invocations``; and the two services that the paper attacked, which are gone:
Google Prediction API v1.6 and Amazon ML's real-time ``Predict``, both with one record a call.

A protocol leaves open what a service answers: vectors of probabilities, labels, scores by class name, one probability
of the second class. ``learn`` finds out from the reply to a probe, ``read`` then reads every reply that way.
"""

import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax.targets import TargetError, one_hot, recognise
from mia_jax.types import Answers, InputError

try:
    import orjson  # encodes floats some 15 times faster
except ImportError:
    orjson = None

Reply = Sequence[Any]  # one element per record: a list of numbers, a label, a number, or {class name: score}

JSON = {"content-type": "application/json"}
CSV = {"content-type": "text/csv"}


class Codec(NamedTuple):
    """One dialect: how a question is written, and its reply read."""

    name: str
    headers: Mapping[str, str]
    encode: Callable[[np.ndarray], bytes]  # records [b, *f] -> body
    decode: Callable[[bytes, int], Reply]  # (body, b) -> reply; ValueError, KeyError, TypeError where it is none
    max_rows: int | None = None  # records a call may hold


class Reading(NamedTuple):
    """What a service's replies mean."""

    form: Literal["vectors", "labels", "scores", "positive"]
    answers: Answers
    names: tuple[str, ...] | None  # the classes' names, in order; None: they are called 0, 1, ...


# --- bytes -----------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """JSON of a value that may hold NumPy arrays. Integers stay integers, floats keep every digit of their type."""
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


def _numbers(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.astype(np.uint8) if x.dtype == bool else x)


def _csv(x: np.ndarray) -> bytes:
    return b"\n".join(dumps(row)[1:-1] for row in _numbers(x.reshape(len(x), -1))) + b"\n"


def _read_any(body: bytes, b: int) -> Reply:
    """A JSON reply of one of the usual forms, or CSV."""
    try:
        return _elements(loads(body))
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


def _elements(value: Any) -> Reply:
    """One element per record from the JSON forms in use: ``{"predictions": [...]}``, or the bare list."""
    if isinstance(value, dict):
        value = value["predictions"]
    if not isinstance(value, list):
        raise ValueError("the reply holds no list of predictions")
    if value and isinstance(value[0], list) and len(value[0]) > 1:  # vectors, as most services answer
        return value
    return [_element(element) for element in value]


def _element(element: Any) -> Any:
    if isinstance(element, dict):
        scores = next((element[k] for k in ("probabilities", "scores", "score", "predict_proba") if k in element), None)
        labels = next((element[k] for k in ("classes", "labels", "displayNames") if k in element), None)
        if scores is None:
            return element.get("predicted_label", element)
        return dict(zip(map(str, labels), scores, strict=True)) if labels is not None else scores
    return element[0] if isinstance(element, list) and len(element) == 1 else element


# --- dialects --------------------------------------------------------------------------------------------------------


def _wrapped(name: str) -> Codec:
    """JSON records under one name, predictions as JSON: TensorFlow Serving's row format and its descendants."""
    return Codec(f'JSON "{name}"', JSON, lambda x: dumps({name: _numbers(x)}), _read_any)


INSTANCES, INPUTS = _wrapped("instances"), _wrapped("inputs")
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
        del b
        outputs = loads(body)["outputs"]
        likely = [o for o in outputs if "prob" in o["name"].lower()] or [
            o for o in outputs if o["datatype"][:2] == "FP"
        ]
        tensor = (likely or outputs)[0]
        kind = object if tensor["datatype"] == "BYTES" else np.float64  # null becomes NaN, and is found out later
        values = np.asarray(tensor["data"], kind).reshape(tensor["shape"])
        return values.reshape(len(values), -1)[:, 0].tolist() if values.size == len(values) else values

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


PROTOCOLS = ("oip", "vertex", "sagemaker", "mlflow", "google", "amazon")
_PATHS = (  # what a URL's path tells, the first that fits
    (r"/v2/models/[^/]+(/versions/[^/]+)?(/infer)?$", "oip"),
    (r"/trainedmodels/[^/]+(/predict)?$", "google"),
    (r":predict$|/v1/models/[^/]+$", "vertex"),
    (r"/endpoints/[^/]+(/invocations)?$", "sagemaker"),
    (r"/invocations$", "mlflow"),
)
_ENDS = {
    "oip": "/infer",
    "vertex": ":predict",
    "sagemaker": "/invocations",
    "mlflow": "/invocations",
    "google": "/predict",
}


def resolve(url: str, protocol: str = "auto") -> tuple[str, str]:
    """The URL that questions are posted to, and the protocol: ``auto`` is told by the path.

    Raises:
        InputError: no http(s) URL, one with a password in it, an unknown protocol, or a path that tells none.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError("a remote target is a URL: http(s)://host/path; see --protocol for the kinds of services")
    if parts.username or parts.password:
        raise InputError(
            "the URL has a password in it, and URLs end up in reports: use MIA_JAX_TOKEN or MIA_JAX_HEADERS"
        )
    path = parts.path.rstrip("/")
    if protocol == "auto":
        protocol = next((name for pattern, name in _PATHS if re.search(pattern, path)), "auto")
    if protocol not in PROTOCOLS:
        raise InputError(f"the protocol of {public(url)} is not clear: choose one of {', '.join(PROTOCOLS)}")
    end = _ENDS.get(protocol, "")
    return urllib.parse.urlunsplit(parts._replace(path=path if path.endswith(end) else path + end)), protocol


def public(url: str) -> str:
    """The part of a URL that may be shown: without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def identity(url: str) -> str:
    """A name that may be shown and differs where URLs do: a query may choose the model's version, or be a secret."""
    query = urllib.parse.urlsplit(url).query
    return public(url) + (f"?{hashlib.sha256(query.encode()).hexdigest()[:12]}" if query else "")


def metadata_url(url: str) -> str:
    """Where an Open Inference server describes the model that questions to ``url`` are for."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=parts.path.removesuffix("/infer")))


def dialects(protocol: str, url: str, metadata: Mapping[str, Any] | None = None) -> list[Codec]:
    """The dialects worth trying, in order of what they would tell.

    Args:
        metadata: what an Open Inference server says of the model; may be empty, and often is.
    """
    match protocol:
        case "oip":
            metadata = metadata or {}
            inputs, outputs = metadata.get("inputs") or [{}], metadata.get("outputs") or []
            wanted = next((o["name"] for o in outputs if "prob" in o["name"].lower()), "predict_proba")
            first = (inputs[0].get("name", "input-0"), inputs[0].get("datatype"))
            return [oip(*first, output) for output in (wanted, None)]
        case "vertex":
            return [INSTANCES]
        case "sagemaker":
            return [INSTANCES, COMMAS, INPUTS]
        case "mlflow":
            return [INPUTS, INSTANCES, COMMAS]
        case "google":
            return [GOOGLE]
        case _:
            return [amazon(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1] or "model", public(url))]


# --- what replies mean -----------------------------------------------------------------------------------------------


def learn(reply: Reply, classes: int | None = None, names: Sequence[str] | None = None) -> Reading:
    """Find out what a service answers.

    Args:
        reply: to some sixteen records; with fewer, rounding and top-k may pass for something else.
        classes: their number; needed where answers do not show it (labels, the k best).
        names: the classes' names in order, where a service answers with names.

    Raises:
        InputError: the reply leaves open what only the caller can know.
        TargetError: it is no reply.
    """
    if len(reply) == 0:
        raise TargetError("the service answered with no prediction at all")
    names = None if names is None else tuple(map(str, names))
    classes = len(names) if names is not None else classes
    first = reply[0]
    if isinstance(first, dict):
        form, told = "scores", len(first)
        if classes is None:
            if names is None and any({*map(str, range(told))} != {*map(str, row)} for row in reply):
                raise InputError(
                    f"the service answers with scores of classes called {', '.join(map(repr, list(first)[:4]))}, ...:"
                    " give the names of all classes in order (--class_names=a,b,c; names= of connect), or their number"
                    " where they are called 0, 1, ... (--num_classes)"
                )
            classes = told
    elif isinstance(first, (list, np.ndarray)):
        form, told = "vectors", len(first)
        if classes not in (None, told):
            raise InputError(
                f"the service answers with {told} probabilities, and you said {classes} classes (--num_classes,"
                " --class_names): leave that out, or mend it"
            )
        classes = told
    elif not all(_is_label(value) for value in reply):
        form, told, classes = "positive", 2, 2
    else:
        form, told = "labels", 0
        if classes is None:
            raise InputError(
                f"the service answers with labels ({first!r}): give the number of classes (--num_classes), or their"
                " names in order (--class_names=a,b,c; names= of connect)"
            )
    reading = Reading(form, Answers(classes), names)
    if form == "labels":
        return reading._replace(answers=Answers(classes, "labels"))
    p = read(reply, len(reply), reading)
    answers = recognise(np.nan_to_num(p))
    if form == "scores" and any(len(row) < classes for row in reply):
        answers = answers._replace(kind="top_k")
    return reading._replace(answers=answers)


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())


def read(reply: Reply, b: int, reading: Reading) -> np.ndarray:
    """The reply to b records as probabilities float64 [b, c]; whether they are any is for ``targets.faults`` to say.

    Raises:
        TargetError: rows are missing, or not what the service answered before.
    """
    if len(reply) != b:
        raise TargetError(f"{b} records were asked about and {len(reply)} answered")
    classes = reading.answers.classes
    try:
        match reading.form:
            case "vectors":
                p = np.asarray(reply, np.float64)
                if p.shape != (b, classes):
                    raise TargetError(f"the answer has shape {p.shape}, expected ({b}, {classes})")
                return p
            case "positive":
                p = np.asarray(reply, np.float64)
                return np.stack([1 - p, p], axis=1)
            case "labels":
                return one_hot(np.array([_column(label, reading) for label in reply]), classes).astype(np.float64)
            case _:
                p = np.zeros((b, classes))
                for row, scores in zip(p, reply, strict=True):
                    for label, score in scores.items():
                        row[_column(label, reading)] = float(score)
                return p
    except (ValueError, TypeError, AttributeError):
        raise TargetError(f"the answer is not of the form it had before ({reading.form})") from None


def _column(label: Any, reading: Reading) -> int:
    if reading.names is not None:
        if str(label) in reading.names:
            return reading.names.index(str(label))
        raise TargetError(
            f"the service answered with the class {str(label)!r}, which is not among the names given: name every class"
        )
    column = int(float(label))
    if column != float(label) or not 0 <= column < reading.answers.classes:
        raise TargetError(f"the service answered with the class {label!r}, and there are {reading.answers.classes}")
    return column
