"""What somebody sees who asks Python what the library is."""

import inspect
import pydoc
import re
import subprocess
import sys

import pytest

import mia_jax
from mia_jax.training import many


def test_help_begins_with_the_entry_points():
    text = pydoc.plain(pydoc.render_doc(mia_jax))
    beginning = text[: text.index("PACKAGE CONTENTS")]
    for entry in ("mia_jax.infer(", "training.fit_many(", "models.from_flax(", "audits.run(", "remote.connect("):
        assert entry in beginning


def test_what_help_names_is_there():
    import importlib

    for path in re.findall(r"mia_jax\.(\w+\.\w+)", mia_jax.__doc__):
        module, name = path.split(".")
        assert hasattr(importlib.import_module(f"mia_jax.{module}"), name), path


@pytest.mark.integration
def test_infer_is_listed_without_being_imported():
    code = (
        "import sys, mia_jax; loaded = 'mia_jax.audits.deployed.infer' in sys.modules;"
        " print('infer' in dir(mia_jax), loaded, mia_jax.infer.__name__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "False", "infer"]
    assert {*mia_jax.__all__} <= {*dir(mia_jax)}


def test_fit_many_takes_what_fit_chunks_takes():
    all_at_once, in_chunks = (inspect.signature(f).parameters for f in (many.fit_many, many.fit_chunks))
    assert all_at_once == in_chunks
    assert all(f"{name}:" in many.fit_many.__doc__ for name in all_at_once)
