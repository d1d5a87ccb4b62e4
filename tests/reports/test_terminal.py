"""The terminal's tables: as wide as they may be, in bold only where there is a terminal, harmless everywhere."""

import io
import json

import pytest
from report_pages import TINY, audited, paper_run

from mia_jax.audits import flags
from mia_jax.reports import terminal

ESCAPES = "\x1b[2J\x1b]0;owned\x07 [red]b[/red] \u202e"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=["paper", "balanced"])
def summary(request, tmp_path):
    folder = (
        paper_run(tmp_path / "run", classes=4, m=60) if request.param == "paper" else audited(tmp_path / "r", **TINY)
    )
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("width", [30, 60, 80, 100, 200])
def test_the_width_is_respected_and_no_number_is_lost(summary, width):
    text = terminal.terminal_table(summary, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text.replace(" …", "")
    if width >= 60:
        for block in summary["attacks"].values():
            assert f"{block['auc']['value']:.3f}" in text


def test_colors_are_for_terminals_alone(summary, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    file, screen = io.StringIO(), Screen()
    terminal.show(summary, file)
    terminal.show(summary, screen)
    assert "\x1b" not in file.getvalue() and file.getvalue() == terminal.terminal_table(summary) + "\n"
    assert "\x1b[1m" in screen.getvalue()


def test_settings_are_shown_as_they_are_typed(summary, monkeypatch):
    """What they are called in Python, in backticks, was shown by commands too: `dp_noise_multiplier` of canaries."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    summary["dataset"]["title"] = summary["dataset"]["name"] = "with `l2=0.1`"
    for file, bold in ((io.StringIO(), False), (Screen(), True)):
        terminal.show(summary, file, typed=lambda text: flags.as_flags(text, {"l2"}))
        assert "with --l2=0.1" in file.getvalue() and ("\x1b[1m" in file.getvalue()) == bold


def test_names_from_files_are_harmless_and_no_markup(summary):
    summary["dataset"]["title"] = summary["dataset"]["name"] = ESCAPES
    first = next(iter(summary["attacks"]))
    summary["attacks"][ESCAPES] = summary["attacks"].pop(first)
    screen = Screen()
    terminal.show(summary, screen)
    for text in (terminal.terminal_table(summary), screen.getvalue()):
        assert "\x1b[2J" not in text and "\x07" not in text and "\u202e" not in text
        assert "[red]b[/red]" in text
