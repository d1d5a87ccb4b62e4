"""How the library is called from a shell: ``mia-jax NAME``, ``python -m mia_jax NAME`` or ``python scripts/NAME.py``.

Messages and pages say ``mia-jax NAME`` of a command; who called it otherwise is shown what is true there. Nothing heavy
is imported here: a list of the commands costs nothing.
"""

import pathlib
import re
import shlex
import sys

COMMANDS = ("train", "audit", "plan", "synthesize", "serve", "report", "verify", "unlearning", "reproduce")
_NAMED = re.compile(rf"\bmia-jax ({'|'.join(COMMANDS)})\b")
_SCRIPT = re.compile(r"(python \S*scripts[/\\])\w+\.py\b")


def program(command: str) -> list[str]:
    """The words before the flags of a command, in the way in which this process was called."""
    called = pathlib.Path(sys.argv[0])
    if _is_package(called):
        return ["python", "-m", "mia_jax", command]
    if called.suffix == ".py" and called.parent.name == "scripts":
        return ["python", str(called.with_name(f"{command}.py"))]
    return ["mia-jax", command]


def here() -> str:
    """The command line of this process, as it can be repeated."""
    called = pathlib.Path(sys.argv[0])
    if _is_package(called) or called.stem == "mia-jax":
        return shlex.join([*program(sys.argv[1]), *sys.argv[2:]])
    return shlex.join(["python", *sys.argv])


def typed() -> tuple[str, list[str]]:
    """The command of this process and its flags, however it was called."""
    called = pathlib.Path(sys.argv[0])
    if called.suffix == ".py" and called.parent.name == "scripts":
        return called.stem, sys.argv[1:]
    return sys.argv[1], sys.argv[2:]


def as_called(text: str) -> str:
    """A text in which ``mia-jax train`` and its like are what they are called here."""
    return _NAMED.sub(lambda found: shlex.join(program(found[1])), text)


def another(command: str, made: str) -> str:
    """How another command is called, in the way in which one was that is on record.

    >>> another("audit", "python scripts/train.py --dataset=location")
    'python scripts/audit.py'
    """
    if made.startswith("python -m mia_jax "):
        return f"python -m mia_jax {command}"
    script = _SCRIPT.match(made)
    return f"{script[1]}{command}.py" if script else f"mia-jax {command}"


def _is_package(called: pathlib.Path) -> bool:
    return called.name == "__main__.py" and called.parent.name == "mia_jax"
