"""Commands and settings without what is this machine's own or secret: folders, and what a URL has after its path."""

import pathlib
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

_URL = re.compile(r"""[A-Za-z][\w+.-]*://[^\s'"]*""")  # whose query may hold anything
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[^\s'",=()]+""")


def shortened(command: str) -> str:
    """A command line, or a call, in which absolute paths are names of files, and URLs have no query and no password.

    >>> shortened("mia-jax audit --data='/home/my data/a.npz' --target=https://host/v1/m:predict?key=1")
    "mia-jax audit --data='a.npz' --target=https://host/v1/m:predict"
    """
    return _TOKEN.sub(lambda found: _token(found.group()), _without_queries(command))


def shortened_values(value: Any) -> Any:
    """The same of every text in a JSON value."""
    match value:
        case str():
            return _pieces(_without_queries(value))
        case Mapping():
            return {key: shortened_values(each) for key, each in value.items()}
        case list() | tuple():
            return [shortened_values(each) for each in value]
    return value


def _token(text: str) -> str:
    quote = text[0] if text[0] in "'\"" and len(text) > 1 else ""
    return f"{quote}{_pieces(text[1:-1])}{quote}" if quote else _piece(text)


def _pieces(text: str) -> str:
    """Several paths, separated by commas, or a flag and its value."""
    return "".join(part if part in (",", "=") else _piece(part) for part in re.split("([,=])", text))


def _without_queries(text: str) -> str:
    return _URL.sub(lambda found: _url(found.group()), text)


def _piece(text: str) -> str:
    if "://" in text:  # done with
        return text
    windows = pathlib.PureWindowsPath(text)
    if pathlib.PurePosixPath(text).is_absolute() or windows.is_absolute() or text.startswith(("~", "\\")):
        return windows.name or "/"  # which knows both kinds of slashes
    return text


def _url(text: str) -> str:
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "a URL"
    if parts.scheme == "file" or not host:
        return pathlib.PurePosixPath(parts.path).name
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
