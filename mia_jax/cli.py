"""What the commands share: devices, flags, one-line errors, exit codes.

Exit codes: 0 done, 2 bad input, 3 a release gate is exceeded, 4 the workdir is held by another process, 5 the query
budget is spent, 6 a release gate cannot tell, 130 interrupted.
"""

import contextlib
import difflib
import errno
import functools
import io
import os
import pathlib
import re
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from mia_jax import command_line, sanitize
from mia_jax.types import MiaError

POLICY = "a policy that the results must meet, a TOML file; see docs/policy.md"
EVIDENCE = "write a folder of evidence into the workdir: mia-jax verify checks it (default: where there is a policy)"
PDF = "write the report, and the annex of the evidence, as PDFs, too: by Chromium, or by WeasyPrint"
PLAN_ONLY = "time a few steps, print what the run will take (seconds, memory, disk), and end; nothing is written"
CSV = "write the scores as text, too: scores.csv, a line for each record"


def say(line: str) -> None:
    """A line for the user, on standard error: standard output is for results."""
    print(_as_typed(line), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Results, on standard output: names in them may be from a file."""
    print(_as_typed(text))


def show_help(text: str) -> None:
    """Text on standard output, of which a reader, as ``head``, may want the first lines alone."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_output()


def _drop_output() -> None:
    """Send what is left of standard output nowhere: its reader has stopped, and Python's end would be a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def define_release_flags(flags: Any) -> Callable[[Any], Any]:
    """Define the flags of policy, evidence and PDFs; a function of the configuration reads them (``release.asked``)."""
    flags.DEFINE_string("policy", None, POLICY)
    flags.DEFINE_bool("evidence", None, EVIDENCE)
    flags.DEFINE_bool("pdf", False, PDF)

    def read(config: Any) -> Any:
        from mia_jax.audits import release

        given = {name: flags.FLAGS[name].value for name in ("policy", "evidence", "pdf")}
        return release.asked(config, **given)

    return read


def show_run(results: Mapping[str, Any], *, csv: bool, workdir: str | None = None) -> None:
    """The table of a finished run and where its files are.

    Args:
        results: of the run.
        csv: its scores are written as text, too.
        workdir: where it is now; by default where it was made.
    """
    from mia_jax.reports import columns, terminal

    workdir = workdir or results["config"]["workdir"]
    terminal.show(results, typed=_typed)
    show(f"\nReport: {workdir}/report.html    data: {workdir}/results.json, {workdir}/scores.npz")
    if csv:
        show(f"Scores as text: {columns.write_csv(workdir)}")
    show_release(workdir)


def show_release(workdir: str) -> None:
    """Where the evidence and the PDFs of a run are, if it has such."""
    from mia_jax import evidence
    from mia_jax.storage import places

    place = places.place(workdir)
    if (sha256 := evidence.digest(place)) is not None:
        show(f"Evidence: {place / evidence.FOLDER}    SHA-256 of its manifest: {sha256}")
    if isinstance(place, pathlib.Path) and (place / "report.pdf").is_file():
        show(f"PDF: {place / 'report.pdf'}")


def enforce(release: Any, audits: Mapping[str, Mapping[str, Any]], conditions: Sequence[Any] = ()) -> None:
    """``release.enforce``, and lines that say that each of the models meets the gate's conditions and the policy.

    Raises:
        GateExceeded, GateUndecided: as ``release.enforce``.
    """
    from mia_jax.audits import gate
    from mia_jax.audits import release as releases

    verdicts = releases.enforce(release, audits, conditions)
    of_each = f" for each of {len(audits)} models" if len(audits) > 1 else ""
    if conditions:
        notes = gate.notes(verdicts) if len(audits) == 1 else []
        gate_text = ", ".join(condition.text for condition in conditions)
        show("\n".join([f"The gate holds{of_each}: {gate_text}", *notes]))
    if release.policy is not None:
        show(f"The policy is met{of_each}: {release.policy.file}")


@functools.cache
def use_every_core() -> int:
    """One XLA device per core, or cores stay idle; returns the number of cores.

    To be called before the backend starts: for commands only.
    """
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "--xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", cores)
    return cores


def define_attack_flags(argv: Sequence[str]) -> None:
    """Define flags for the options of the user's own attacks, those in ``argv`` that are named as module:entry."""
    if any(":" in word for word in argv):
        use_every_core()
        from absl import flags

        from mia_jax.audits import flags as audit_flags

        audit_flags.define_attack_flags(flags, argv)


Main = Callable[[], int | None]


def start(define: Callable[[list[str]], Main], *, module: str = "__main__", argv: list[str] | None = None) -> NoReturn:
    """Parse absl's flags, do what is asked for and exit with its code; errors that the user can mend are one line.

    absl's own ``app.run`` exits with 1 on a bad flag, and prints a traceback for everything else.

    Args:
        define: is given the command line first, defines the flags, and returns what to do once they are read.
        module: whose docstring and flags --help shows.
        argv: the command line; by default that of this process.
    """
    from absl import app, flags, logging

    mains: list[Main] = []

    def parse(argv: list[str]) -> list[str]:
        try:
            mains.append(define(argv))
        except MiaError as error:
            fail(error)
        if any(re.fullmatch(r"-h|--?help\w*(=.*)?", word) for word in argv[1:]):  # absl would exit with 1
            known = flags.FLAGS.module_help(module if module != "__main__" else sys.argv[0])
            show_help(command_line.as_called(f"{sys.modules[module].__doc__}\nFlags:\n{known}"))
            sys.exit(0)
        try:
            left = flags.FLAGS(argv)
        except flags.Error as error:
            fail(MiaError(f"{_reason(error)} See --help for all flags."))
        for line in repeated(argv):
            say(line)
        if len(left) > 1:
            fail(MiaError(f"{left[1]!r} is not a flag; flags are written --name=value. See --help for all flags."))
        return left

    def guarded(argv: list[str]) -> None:
        del argv
        logging.set_verbosity(logging.WARNING)  # jax tells which accelerators it did not find
        signal.signal(signal.SIGINT, interrupted)
        # ty: a function of a module, which its documentation says to replace
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")  # ty: ignore[invalid-assignment]
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
        try:
            sys.exit(mains[0]() or 0)
        except MiaError as error:
            fail(error)
        except BrokenPipeError:  # as of `| head`
            _drop_output()
            fail(MiaError("whoever read the output has stopped; the results are in the workdir"))
        except OSError as error:
            from mia_jax.storage import disk

            fail(_out_of_memory() if error.errno == errno.ENOMEM else MiaError(disk.in_words(error)))
        except Exception as error:
            if not _says_out_of_memory(error):
                raise
            fail(_out_of_memory())

    app.run(guarded, argv=argv, flags_parser=parse)
    raise AssertionError("app.run exits")


# What makes a run smaller, and how much at once: flags of the commands, of which each has some.
SMALLER = ("chunk", "batch_size", "hidden", "attack_rows", "attack_hidden", "rows_per_request", "num_records")


def repeated(argv: Sequence[str]) -> list[str]:
    """What is to be said of flags that the command line gives several values, of which absl takes the last."""
    given: dict[str, list[str]] = {}
    for name, value in re.findall(r"^--?(\w+)=(.*)$", "\n".join(argv[1:]), re.MULTILINE):
        given.setdefault(name, []).append(value)
    return [
        f"note: --{name} is given {len(values)} times, and the last counts: --{name}={values[-1]}; several values of"
        " one flag are written with commas between them"
        for name, values in given.items()
        if len({*values}) > 1
    ]


def _says_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    from mia_jax.training import parallel  # jax, which a command that failed so early may do without

    return parallel.is_out_of_memory(error)


def _out_of_memory() -> MiaError:
    """The line for a run that ended where nobody could do with less: the flags of this command that ask for less."""
    from absl import flags

    smaller = [f"--{name}" for name in SMALLER if name in flags.FLAGS]
    lower = f"lower {', '.join(smaller)}, or give fewer records" if smaller else "give fewer records"
    return MiaError(f"the memory of this machine does not suffice: {lower}; what was finished is kept")


def _reason(error: Exception) -> str:
    """A sentence from absl's words, which name a flag that is near to an unknown one for few of them."""
    from absl import flags

    if isinstance(error, flags.UnrecognizedFlagError):
        near = difflib.get_close_matches(error.flagname, list(flags.FLAGS), n=1)
        return f"There is no flag --{error.flagname}" + (f"; did you mean --{near[0]}?" if near else ".")
    return str(error).splitlines()[0].rstrip(".") + "."


def interrupted(*_) -> None:
    """Handle Ctrl-C: say that nothing is lost, and exit with 130.

    A handler, as a KeyboardInterrupt may be raised where it is lost (in a destructor), and an exit at once: devices may
    be in the middle of a chunk, nobody wants to wait for it, and files are written whole or not at all.
    """
    show_cursor = b"\033[?25h" if os.isatty(2) else b""  # progress bars hide it
    # Not print: the signal may have come in the middle of one.
    os.write(
        2, show_cursor + b"\nInterrupted. Nothing that was finished is lost: the same command goes on from here.\n"
    )
    with contextlib.suppress(RuntimeError):
        sys.stdout.flush()
    os._exit(130)


def fail(error: MiaError) -> NoReturn:
    """Print the error in red where that is possible, and exit with its code."""
    word = "\033[31merror:\033[0m" if sys.stderr.isatty() else "error:"
    print(word, _as_typed(str(error)), file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


def _as_typed(text: str) -> str:
    """A message, harmless, in which settings are this command's flags, and commands are as they are called here."""
    return _typed(sanitize.harmless(text))


def _typed(text: str) -> str:
    if "`" in text:  # what knows flags imports much
        from absl import flags

        from mia_jax.audits.flags import as_flags

        text = as_flags(text, flags.FLAGS)
    return command_line.as_called(text)
