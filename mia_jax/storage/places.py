"""Where a run is: a folder of this machine, or the address of an object store, as in ``s3://bucket/run``.

fsspec is imported only for an address. ``file://`` and ``local://`` are folders.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Generator

from mia_jax import sanitize
from mia_jax.storage.files import replacing
from mia_jax.types import InputError

URL = re.compile(r"([A-Za-z][\w+.:-]+)://(.*)", re.DOTALL)  # more than one letter: C:\ is a drive
_CREDENTIALS = re.compile(r"(\w://)[^/\s@]*:[^/\s@]*@")
_QUERY = re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"]+")


@dataclasses.dataclass(frozen=True)
class Address:
    """A folder in an object store; ``address / name`` is what lies in it."""

    protocol: str  # as s3
    path: str  # the bucket and the folder in it, without a slash at either end

    def __truediv__(self, name: str) -> "Address":
        return Address(self.protocol, f"{self.path}/{name}".strip("/"))

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def bucket(self) -> str:
        """The first part of the path."""
        return self.path.partition("/")[0]


Place = pathlib.Path | Address


def place(workdir: str | os.PathLike | Address) -> Place:
    """A folder or an address from what names it.

    Raises:
        InputError: an address that names no folder, or that holds what must not be shown.
    """
    if isinstance(workdir, Address):
        return workdir
    text = os.fspath(workdir)
    found = URL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return pathlib.Path(text)
    protocol, path = found[1].lower(), found[2]
    if protocol in ("file", "local"):
        return pathlib.Path(urllib.request.url2pathname(urllib.parse.unquote(path)))
    shown = without_secrets(text)
    if re.match(r"[^/]*:[^/]*@", path) or "?" in path or "#" in path:
        raise InputError(
            f"the address {shown} has more in it than a bucket and a folder: a password or a query would end up in"
            " reports and in the list of processes; leave it out, and give credentials as the store's own tools take"
            " them (environment variables, a file)"
        )
    if "::" in protocol or not path.strip("/"):
        raise InputError(f"the address {shown} names no folder of an object store: write it as s3://bucket/folder")
    if any(part in ("", ".", "..") for part in path.strip("/").split("/")):
        raise InputError(f"the address {shown} has an empty part, or a dot for one: write it as s3://bucket/folder")
    return Address(protocol, path.strip("/"))


def without_secrets(text: str) -> str:
    """A text in which no URL has a user with a password, or a query: such may hold keys."""
    return _QUERY.sub(r"\1?...", _CREDENTIALS.sub(r"\1...@", sanitize.harmless(text)))


def cache_folder() -> pathlib.Path:
    """Of this machine: $MIA_JAX_CACHE_DIR, else mia_jax in $XDG_CACHE_HOME, else in ~/.cache."""
    if named := os.environ.get("MIA_JAX_CACHE_DIR"):
        return pathlib.Path(named).expanduser()
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mia_jax"


# --- files of a finished run -----------------------------------------------------------------------------------------


def read(folder: Place, name: str) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: there is none.
        OSError: of a folder: it cannot be read.
        DiskError, InputError: of an address: the store does not give it.
    """
    if isinstance(folder, pathlib.Path):
        return (folder / name).read_bytes()
    from mia_jax.storage import objects

    content = objects.open_store(folder).read(name)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / name))
    return content


@contextlib.contextmanager
def writing(folder: Place, name: str) -> Generator[pathlib.Path]:
    """Give a temporary path to write to; what was written becomes the file, whole, if the block ends well.

    Folders that are missing are made.

    Raises:
        OSError: of a folder: it cannot be written.
        DiskError, InputError: of an address: the store does not take it.
    """
    if isinstance(folder, pathlib.Path):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / name) as partial:
            yield partial
        return
    from mia_jax.storage import objects

    with tempfile.TemporaryDirectory(prefix="mia_jax-") as temporary:
        path = pathlib.Path(temporary) / "file"
        yield path
        objects.open_store(folder).write(name, path.read_bytes())


def remove(folder: Place, name: str) -> None:
    """Remove a file, if it is there."""
    if isinstance(folder, pathlib.Path):
        (folder / name).unlink(missing_ok=True)
        return
    from mia_jax.storage import objects

    objects.open_store(folder).remove(name)
