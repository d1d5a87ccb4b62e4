"""The report of a balanced audit."""

import pathlib

PLANS = ("balanced", "deployed")


def write_report(workdir: str | pathlib.Path) -> None:
    pass
