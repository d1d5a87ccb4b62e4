"""Text from elsewhere (a server, a file), made fit for a line on a terminal or in a page. Standard library only."""

import re
from typing import Any

# What a terminal acts upon or a reader is misled by: C0 and C1 controls, separators of lines, marks that turn the
# direction of writing around, and halves of surrogate pairs, which no encoding can write.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""The text with control characters written out, as in ``\x1b``; newlines and tabs stay."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), text)


def harmless_values(value: Any) -> Any:
    """A JSON value whose texts are harmless."""
    match value:
        case str():
            return harmless(value)
        case dict():
            return {harmless(key): harmless_values(item) for key, item in value.items()}
        case list():
            return [harmless_values(item) for item in value]
    return value


def line(text: str, longest: int = 160) -> str:
    """The beginning of a text, as one harmless line."""
    text = harmless(" ".join(text[: 8 * longest].split()))
    return text if len(text) <= longest else text[:longest] + "..."


def quoted(value: Any, longest: int = 40) -> str:
    """A value as Python writes it, shortened."""
    text = repr(value if not isinstance(value, str) else value[: longest + 1])
    return text if len(text) <= longest + 2 else text[:longest] + "..."


def outline(value: Any, depth: int = 4) -> str:
    """The shape of a JSON value in a few words, as in ``{'predictions': [16 x {'label': 'cat', 'score': 0.9}]}``."""
    match value:
        case dict() if depth == 0 and value:
            return "{...}"
        case dict():
            some = [f"{quoted(key, 20)}: {outline(item, depth - 1)}" for key, item in list(value.items())[:4]]
            more = len(value) - len(some)
            return "{" + ", ".join(some + ([f"and {more:,} more"] if more else [])) + "}"
        case list() | tuple() if depth == 0 and value:
            return "[...]"
        case list() | tuple():
            return f"[{len(value):,} x {outline(value[0], depth - 1)}]" if value else "[]"
        case _:
            return quoted(value, 60)
