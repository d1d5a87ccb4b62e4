"""What can be typed, a file for each command: ``mia-jax NAME``, ``python -m mia_jax NAME`` and ``scripts/NAME.py``.

The docstring of a command's file is what its ``--help`` shows. ``define`` is given the command line, defines the flags,
and returns what is to be done once they are read. Importing these files defines no flag: two commands have flags of the
same name.
"""

import ast
import difflib
import importlib
import pathlib
import signal
import sys
from typing import NoReturn

from mia_jax.command_line import COMMANDS, program


def run(name: str, argv: list[str] | None = None) -> NoReturn:
    """Do what a command line says, and exit with its code (``mia_jax.cli``).

    Args:
        name: one of ``COMMANDS``.
        argv: the flags, after what was called; by default those of this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # imports take seconds, and Ctrl-C needs no traceback; see cli.start
    from mia_jax import cli

    command = importlib.import_module(f"mia_jax.commands.{name}")
    cli.start(command.define, module=command.__name__, argv=argv)


def main() -> NoReturn:
    """What ``mia-jax`` and ``python -m mia_jax`` do: the command that is named, or a list of them."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        run(name, [sys.argv[0], *rest])
    if name == "--version":
        from mia_jax import __version__

        print(f"mia-jax {__version__}")
    elif name in ("--help", "-h", "help"):
        print(list_commands())
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}."
        print(f"error: there is no command {name!r}; {hint} A command comes first, then its flags.", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def list_commands() -> str:
    """The commands, a line each: the first of their docstrings, which are read without what the files import."""
    width, called = max(map(len, COMMANDS)), " ".join(program("NAME"))
    lines = []
    for name in COMMANDS:
        file = pathlib.Path(__file__).with_name(f"{name}.py")
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:{width}}  {doc.splitlines()[0]}")
    return "\n".join([f"{called} --flag=value ..., where NAME is one of", *lines, f"{called} --help shows its flags."])
