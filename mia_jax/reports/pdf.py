"""A page as a PDF: printed by Chromium, or by WeasyPrint (the extra ``pdf``), whichever is installed."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from mia_jax import sanitize
from mia_jax.storage.files import replacing
from mia_jax.types import InputError, MiaError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
SECONDS = 120.0  # that a browser may take for a page


def printer() -> Callable[[pathlib.Path, pathlib.Path], None]:
    """What makes a PDF of a page: a function of the page's path and of the .pdf to write.

    Raises:
        InputError: there is nothing on this machine that does.
    """
    if (browser := next((found for name in BROWSERS if (found := shutil.which(name))), None)) is not None:
        return lambda page, out: _by_browser(browser, page, out)
    if importlib.util.find_spec("weasyprint") is not None:
        return _by_weasyprint
    raise InputError(
        "`pdf` needs Chromium or Chrome, or WeasyPrint (pip install 'mia-jax[pdf]'), and neither is here: install one,"
        " or print report.html to a file, for it is made to be printed"
    )


def _by_browser(browser: str, page: pathlib.Path, out: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mia_jax-pdf-") as profile:
        made = pathlib.Path(profile) / "page.pdf"
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}/profile"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # its sandbox refuses root; the page is ours, without scripts
            options.append("--no-sandbox")
        command = [browser, *options, f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(browser, str(error)) from None
        if done.returncode or not made.is_file():
            raise _failed(browser, done.stderr.decode(errors="replace")[-300:])
        _keep(made.read_bytes(), out)


def _by_weasyprint(page: pathlib.Path, out: pathlib.Path) -> None:
    import weasyprint

    made = weasyprint.HTML(filename=str(page)).write_pdf()
    assert made is not None
    _keep(made, out)


def _keep(content: bytes, out: pathlib.Path) -> None:
    with replacing(out) as partial:
        partial.write_bytes(content)


def _failed(browser: str, why: str) -> MiaError:
    return MiaError(
        f"{browser} made no PDF ({sanitize.line(why)}); report.html and all results are there: print it, or leave out"
        " `pdf`"
    )
