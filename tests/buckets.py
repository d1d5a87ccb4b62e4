"""An object store in memory for tests, and what is in it. Needs fsspec."""

import datetime
from typing import ClassVar

from fsspec.implementations.memory import MemoryFileSystem

from mia_jax.storage import artifacts

CONFIG = {"seed": 0}
URL = "bucket://b/run"


class Bucket(MemoryFileSystem):
    """fsspec's store in memory, which counts what it is asked, and can be out of reach."""

    protocol = "bucket"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    calls: ClassVar[list[str]] = []
    fails: ClassVar[dict[str, Exception]] = {}  # by call; "": all

    @classmethod
    def _strip_protocol(cls, path):
        path = path.removeprefix("bucket://").strip("/")
        return f"/{path}" if path else ""

    def _count(self, name):
        self.calls.append(name)
        for call in (name, ""):
            if call in self.fails:
                raise self.fails[call]

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._count("get")
        return super().cat_file(path, start, end, **kwargs)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._count("put")
        super().pipe_file(path, value, mode, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        self._count("ls")
        return super().ls(path, detail, **kwargs)

    def find(self, *args, **kwargs):
        self._count("find")
        return super().find(*args, **kwargs)

    def rm_file(self, path):
        self._count("rm")
        super()._rm(path)

    def modified(self, path):
        self._count("head")
        return super().modified(path)


def names():
    return sorted(path.removeprefix("/b/run/") for path in Bucket.store)


def opened(together=True, config=CONFIG):
    return artifacts.open_workdir(URL, config, shared=together)


def content(name):
    return Bucket.store[f"/b/run/{name}"].getvalue()


def put(name, what):
    Bucket().pipe_file(f"bucket://b/run/{name}", what)


def age(name, seconds):
    Bucket.store[f"/b/run/locks/{name}"].modified -= datetime.timedelta(seconds=seconds)
