"""Credentials: read from the environment, sent to the service, and shown nowhere."""

import json
import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from mia_jax.types import InputError


def from_environment() -> dict[str, str]:
    """The headers that ``MIA_JAX_TOKEN`` and ``MIA_JAX_HEADERS`` ask for.

    Raises:
        InputError: they cannot be used; the message does not repeat them.
    """
    text = os.environ.get("MIA_JAX_HEADERS", "").strip()
    try:
        headers = json.loads(text or "{}")
    except (ValueError, RecursionError):
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InputError("""MIA_JAX_HEADERS must be a JSON object of strings, as in '{"x-api-key": "..."}'""")
    if token := os.environ.get("MIA_JAX_TOKEN", "").strip():
        headers["authorization"] = f"Bearer {token}"
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and name.isascii() and name.isprintable()):
            raise InputError("MIA_JAX_TOKEN and MIA_JAX_HEADERS may hold printable ASCII characters only")
    return headers


def secrets(headers: Mapping[str, str], url: str) -> Sequence[str]:
    """What must not be shown, longest first: what headers hold and what a URL's query does, as it may be quoted."""
    values = {part for value in headers.values() for part in (value, *value.split())} - {"Bearer", "Basic"}
    query = urllib.parse.urlsplit(url).query
    values |= {query, *(value for _, value in urllib.parse.parse_qsl(query, keep_blank_values=True))}
    values |= {part.partition("=")[2] for part in query.split("&")}
    quoted = {urllib.parse.quote(v) for v in values} | {urllib.parse.quote_plus(v, safe="") for v in values}
    escaped = {form(v)[1:-1] for v in values for form in (repr, json.dumps)}
    return sorted((v for v in values | quoted | escaped if len(v) > 3), key=len, reverse=True)


def hide(text: str, secrets: Sequence[str]) -> str:
    """The text with ``***`` in place of secrets, in capitals or not: servers quote them in their errors."""
    return re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE) if secrets else text
