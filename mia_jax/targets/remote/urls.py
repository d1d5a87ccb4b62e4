"""The URL of a service: which protocol it tells, and which part of it may be shown."""

import hashlib
import re
import urllib.parse

from mia_jax.types import InputError

PROTOCOLS = ("oip", "vertex", "sagemaker", "mlflow", "json", "google", "amazon")
_PATHS = (  # what a URL's path tells, the first that fits
    (r"/v2/models/[^/]+(/versions/[^/]+)?(/infer)?$", "oip"),
    (r"/trainedmodels/[^/]+(/predict)?$", "google"),
    (r":predict$|/v1/models/[^/]+$", "vertex"),
    (r"/endpoints/[^/]+(/invocations)?$", "sagemaker"),
    (r"/invocations$", "mlflow"),
    (r"/predict$", "json"),
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

    "json" is posted to the URL as it is; of the others, the path is completed.

    Raises:
        InputError: no http(s) URL, one with a password in it, an unknown protocol, or a path that tells none.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError("a remote target is a URL: http(s)://host/path, of one of the protocols")
    if parts.username or parts.password:
        raise InputError(
            "the URL has a password in it, and URLs end up in reports: use MIA_JAX_TOKEN or MIA_JAX_HEADERS"
        )
    path = parts.path.rstrip("/")
    if protocol == "auto":
        protocol = next((name for pattern, name in _PATHS if re.search(pattern, path)), "auto")
    if protocol not in PROTOCOLS:
        raise InputError(
            f"the protocol of {public(url)} is not clear: choose one of {', '.join(PROTOCOLS)}; json posts"
            ' {"instances": [...]} to this URL as it is'
        )
    if protocol == "json":
        return url, protocol
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


def name(url: str, protocol: str) -> str:
    """What answers of a service are kept under."""
    return f"{protocol} {identity(url)}"


def metadata_url(url: str) -> str:
    """Where an Open Inference server describes the model that questions to ``url`` are for."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=parts.path.removesuffix("/infer")))
