"""In which encoding a table's text is: UTF-8, what a mark at the beginning says, or what the bytes leave no doubt of.

What is not UTF-8 does not say what it is. Text of Western Europe is ASCII with single letters between, Japanese text
has kana; everything else is refused rather than read as other letters.
"""

import pathlib
import re
import unicodedata

import numpy as np

SAMPLE = 1 << 20  # bytes that are looked at where UTF-8 ends
MARKS = {  # longer ones first: that of UTF-32 begins as that of UTF-16
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
ZEROS, NONE = 0.2, 0.001  # share of every second byte that is 0 in UTF-16, and of the others
RUN = 3  # bytes beyond ASCII that follow each other in few words of Western Europe
WESTERN = 0.7  # of the bytes beyond ASCII are letters and signs as these languages have them
KANA = 0.15  # of the characters of Japanese text, at least
_PARTS = re.compile(rb"[\x80-\xff]+")
_SIGNS = rb"[\x80\x85\x91-\x94\x96\x97\x99\xa0-\xbf]"  # of cp1252: quotes, dashes, the euro, degrees
_LETTERS = rb"[\xaa\xba\xc0-\xff]"
_INSIDE = re.compile(
    rb"[A-Za-z\xc0-\xff][\x80\xa1-\xa9\xab-\xb6\xb8\xb9\xbb-\xbf][a-z\xc0-\xff]"
)  # no sign stands there
_PAIRS = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}")  # characters of UTF-8
MOVE = "save it as UTF-8: iconv -f ENCODING -t UTF-8 {name} > utf8.csv, or pandas.read_csv(path, encoding=...).to_csv"


def of_text(path: pathlib.Path) -> str:
    """The encoding of a file of text, as Python calls it.

    Raises:
        ValueError: it cannot be told, or the file is no text; what to do.
        OSError: it cannot be read.
    """
    with open(path, "rb") as f:
        beginning = f.read(SAMPLE)
        if mark := next((mark for mark in MARKS if beginning.startswith(mark)), None):
            return MARKS[mark]
        if b"\0" in beginning:
            return _without_mark(beginning)
        f.seek(0)
        while block := f.readlines(1 << 24):
            whole = b"".join(block)
            if b"\0" in whole:
                raise ValueError("it is no text: it has bytes that are zero")
            try:
                whole.decode("utf-8")
            except UnicodeDecodeError as error:
                return _of_bytes(whole[max(0, error.start - SAMPLE) : error.start + SAMPLE], path.name)
    return "utf-8-sig"


def _without_mark(beginning: bytes) -> str:
    """UTF-16 that does not say so: every second byte of what is ASCII is 0."""
    pairs = np.frombuffer(beginning[: len(beginning) // 2 * 2], np.uint8).reshape(-1, 2) == 0
    first, second = pairs.mean(axis=0) if len(pairs) else (0.0, 0.0)
    for encoding, many, few in (("utf-16-le", second, first), ("utf-16-be", first, second)):
        if many > ZEROS and few < NONE:
            return encoding
    raise ValueError("it is no text: it has bytes that are zero")


def _of_bytes(text: bytes, name: str) -> str:
    """What bytes are that are not UTF-8."""
    parts = _PARTS.findall(text)
    pairs, beyond = sum(map(len, _PAIRS.findall(text))), sum(map(len, parts))
    if pairs > beyond / 4 and sum(len(part) for part in parts if len(part) >= RUN) < beyond / 2:
        raise ValueError(
            f"a part of it is UTF-8 and another is not, as where two files were put together: {MOVE.format(name=name)}"
            " of the part that is not"
        )
    if _is_western(text, parts, beyond):
        return "cp1252"
    japanese = [encoding for encoding in ("cp932", "euc_jp") if _has_kana(text, encoding)]
    if len(japanese) == 1:
        return japanese[0]
    raise ValueError(
        "it is not UTF-8, and its bytes do not tell what it is (Cyrillic, Greek, Eastern European, Chinese, Korean or"
        f" an old Macintosh's text, say): {MOVE.format(name=name)}"
    )


def _is_western(text: bytes, parts: list[bytes], beyond: int) -> bool:
    """Whether these can be words of Western Europe in cp1252, which has all that ISO 8859-1 has."""
    try:
        text.decode("cp1252")
    except UnicodeDecodeError:
        return False
    together = b"".join(parts)
    usual = len(re.findall(_LETTERS, together)) + len(re.findall(_SIGNS, together))
    long = sum(len(part) for part in parts if len(part) >= RUN)
    return usual >= WESTERN * beyond and long <= beyond / 5 and len(_INSIDE.findall(text)) <= beyond / 10


def _has_kana(text: bytes, encoding: str) -> bool:
    lines = text.split(b"\n")
    try:
        decoded = b"\n".join(lines[1:-1] if len(lines) > 3 else lines).decode(encoding)
    except UnicodeDecodeError:
        return False
    beyond = [character for character in decoded if ord(character) > 127]
    kana = sum("\u3040" <= character <= "\u30ff" for character in beyond)
    known = all(unicodedata.category(character) not in ("Co", "Cn", "Cc") for character in beyond)
    return bool(beyond) and known and kana >= KANA * len(beyond)
