"""Credentials: read from the environment, sent to the service, and shown nowhere."""

import json
import os

from mia_jax.types import InputError


def from_environment() -> dict[str, str]:
    """The headers that ``MIA_JAX_TOKEN`` and ``MIA_JAX_HEADERS`` ask for.

    Raises:
        InputError: they cannot be used; the message does not repeat them.
    """
    text = os.environ.get("MIA_JAX_HEADERS", "").strip()
    try:
        headers = json.loads(text or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InputError("""MIA_JAX_HEADERS must be a JSON object of strings, as in '{"x-api-key": "..."}'""")
    if token := os.environ.get("MIA_JAX_TOKEN", "").strip():
        headers["authorization"] = f"Bearer {token}"
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and name.isascii() and name.isprintable()):
            raise InputError("MIA_JAX_TOKEN and MIA_JAX_HEADERS may hold printable ASCII characters only")
    return headers


def hide(text: str, headers: dict[str, str]) -> str:
    """The text with ``***`` in place of whatever the headers hold: servers quote them in their errors."""
    values = {part for value in headers.values() for part in (value, *value.split()) if len(part) > 3}
    for secret in sorted(values - {"Bearer", "Basic"}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
