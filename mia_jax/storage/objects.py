"""Objects of a store (S3, Google Cloud Storage, Azure, ...), by fsspec: whole ones, and in words what went wrong.

Nothing is appended to or renamed, for stores can do neither; an object that is written replaces the one of its name at
once. What an object store says is taken from the answer to one request where that is possible: fsspec's ``exists``,
``info`` and plain ``cat`` list a folder when there is no object of the name, which costs more and needs more rights.
"""

import contextlib
import datetime
import time
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from mia_jax import sanitize
from mia_jax.storage.places import Address, without_secrets
from mia_jax.types import DiskError, InputError

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
CREDENTIALS = {
    "s3fs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine",
    "gcsfs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "adlfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
# What the packages of stores raise, by name, for they are not imported here.
UNKNOWN_USER = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "DefaultCredentialsError"}
UNKNOWN_USER |= {"RefreshError", "ClientAuthenticationError", "CredentialUnavailableError", "ProfileNotFound"}
UNREACHED = ("Connect", "Timeout", "Endpoint", "ServiceRequest", "HTTPClient", "Resolve")
FORBIDDEN = (401, 403)
PARTICIPLES = {"read": "read", "write": "written", "remove": "removed", "list": "listed", "open": "opened"}

Merge = Callable[[str, bytes | None, bytes, bytes], bytes | None]  # of ``Workdir.kept_folder``


class ObjectStore:
    """The objects below an address, by their names relative to it. ``open_store`` makes it.

    Every method raises DiskError where the store does not do what it is asked for.
    """

    def __init__(self, address: Address, filesystem: Any, root: str):
        self.address, self.root = address, root
        self._fs = filesystem
        self._exact: bool | None = None  # whether it creates objects on condition that there is none
        self._server_time: tuple[float, float] | None = None  # the store's clock, and this process's at that moment

    def read(self, name: str) -> bytes | None:
        """An object's content; None: there is none."""
        with self._asked("read", name):
            try:
                return bytes(self._fs.cat_file(self._path(name), start=0))  # with a range it asks once
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """Whether there is an object of this name that is not empty."""
        with self._asked("read", name):
            try:
                return bool(self._fs.cat_file(self._path(name), start=0, end=1))
            except FileNotFoundError:
                return False

    def write(self, name: str, content: bytes) -> None:
        """Put an object, in the place of one that is there."""
        with self._asked("write", name):
            self._fs.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none; returns whether this one is there now.

        ``content`` is to be nobody else's. Where a store has no such condition, of two who create at once both may be
        told yes.
        """
        with self._asked("write", name):
            try:
                self._fs.pipe_file(self._path(name), content, mode="create")
            except Exception as error:  # refused; or it was put, and the answer was lost and the request repeated
                there = self.read(name)
                if there is None and not isinstance(error, FileExistsError):
                    raise
                return there == content
            return self._exact is not False or self.read(name) == content

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._asked("remove", name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder, objects and folders, by their last parts; folders end in a slash."""
        path = self._path(folder) if folder else self.root
        with self._asked("list", folder):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        whole = {entry["name"].rstrip("/"): entry["type"] for entry in found}
        return sorted(
            name.rpartition("/")[2] + "/" * (kind == "directory")
            for name, kind in whole.items()
            if name.strip("/") != path.strip("/")
        )

    def age(self, name: str) -> float | None:
        """Seconds since an object was written, by the store's clock; None: there is none, or the store does not say."""
        try:
            written = self._modified(name)
        except FileNotFoundError:
            return None
        if written is None or self._server_time is None:
            return None
        then, here = self._server_time
        return then + (time.monotonic() - here) - written

    def try_out(self, name: str) -> None:
        """Write an object, create it again, look at its time and remove it: what locks need, before any work.

        Raises:
            InputError: the store refuses it.
        """
        try:
            self.write(name, b"0")
            self._server_time = None if (now := self._modified(name)) is None else (now, time.monotonic())
            self._exact = not self.create(name, b"1") and self._creates_exactly()
            self.remove(name)
        except DiskError as error:
            raise InputError(str(error)) from None

    def _creates_exactly(self) -> bool:
        from fsspec.asyn import AsyncFileSystem
        from fsspec.spec import AbstractFileSystem

        looks_first = type(self._fs).pipe_file is AbstractFileSystem.pipe_file
        return isinstance(self._fs, AsyncFileSystem) or not looks_first

    @property
    def exact(self) -> bool:
        """Whether of two processes that create an object at once one is told so."""
        return self._exact is not False

    def _modified(self, name: str) -> float | None:
        with self._asked("read", name):
            self._fs.invalidate_cache()
            try:
                written = self._fs.modified(self._path(name))
            except NotImplementedError:
                return None
            if not isinstance(written, datetime.datetime):
                return None
            return (written if written.tzinfo else written.replace(tzinfo=datetime.UTC)).timestamp()

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextlib.contextmanager
    def _asked(self, what: str, name: str) -> Generator[None]:
        try:
            yield
        except (DiskError, InputError):
            raise
        except FileNotFoundError as error:
            if what == "write":  # there is no bucket
                _refused(self.address, what, error)
            raise
        except Exception as error:  # of each store's own package
            _refused(self.address / name if name else self.address, what, error)


def open_store(address: Address) -> ObjectStore:
    """The store of an address; asks nothing of it yet.

    Raises:
        InputError: fsspec, or what it needs for the protocol, is not installed; or it knows no such protocol.
    """
    try:
        import fsspec
    except ImportError:
        raise InputError(
            f"{address} needs fsspec, which is not installed: pip install 'mia-jax[cloud]'"
            f" {PACKAGES.get(address.protocol, '')}".rstrip()
        ) from None
    try:
        filesystem, root = fsspec.url_to_fs(str(address))
    except ImportError as error:
        package = PACKAGES.get(address.protocol)
        raise InputError(
            f"{address} needs {package or 'another package'}, which is not installed"
            f" ({sanitize.line(without_secrets(str(error)))}): pip install {package or 'it'}"
        ) from None
    except ValueError as error:
        raise InputError(
            f"{address}: {sanitize.line(without_secrets(str(error)))}; as s3://bucket/folder, gs://..., abfs://..."
        ) from None
    except Exception as error:  # credentials are looked up by some
        _refused(address, "open", error)
    return ObjectStore(address, filesystem, root.rstrip("/"))


def _refused(address: Address, what: str, error: Exception) -> NoReturn:
    """Raise what went wrong and the next move, in one line."""
    package = PACKAGES.get(address.protocol, "")
    kinds = [type(each).__name__ for each in _chain(error)]
    reason = sanitize.line(without_secrets(str(error))) or kinds[0]
    code = getattr(error, "code", None) or getattr(error, "status", None)
    tried = f"{address} cannot be {PARTICIPLES[what]}"
    if isinstance(error, FileNotFoundError):
        line = f"{tried}: there is no bucket {address.bucket} ({reason}); make it, or correct the address"
    elif UNKNOWN_USER & {*kinds}:
        line = f"{tried}: no credentials are found ({reason}); give {CREDENTIALS.get(package, 'those of the store')}"
    elif isinstance(error, PermissionError) or code in FORBIDDEN or "forbidden" in reason.lower():
        line = f"{tried}: the store refuses it ({reason}); get the rights to read, write, remove and list there"
    elif isinstance(error, ConnectionError | TimeoutError) or any(part in kind for part in UNREACHED for kind in kinds):
        line = f"{tried}: the store does not answer ({reason}); mend the connection, or correct the address"
    elif isinstance(error, NotImplementedError):
        line = f"{tried}: that is not done with {address.protocol}; choose another store, or a folder"
    else:
        line = f"{tried} ({kinds[0]}: {reason})"
    raise DiskError(line) from error


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that it came of."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
