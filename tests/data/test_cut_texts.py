"""Texts that were cut at a length are told; whole ones, codes and padded ones are not."""

import warnings

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.data import cut_texts

RNG = np.random.default_rng(0)
WORDS = np.array([f"w{k:03d}" for k in range(600)])
WHOLE = [" ".join(RNG.choice(WORDS, size=RNG.integers(3, 30))) for _ in range(300)]
CUT = np.array(WHOLE, dtype="<U40")
CITIES = np.array(["Ulm", "Bonn", "Kiel", "Frankfurt am Main", "Berlin", "Stuttgart", "Kaiserslautern"])


def test_texts_of_a_fixed_width_are_told():
    (said,) = cut_texts.notes(CUT)
    count = np.sum(np.char.str_len(CUT) == 40)
    assert f"Texts seem to be cut at 40 characters: {count} of 300" in said
    assert "the array's type, U40, keeps no more" in said and "dtype=object" in said


@pytest.mark.parametrize("kind", ["list", "object", "bytes", "column of x", "frame", "gaps"])
def test_so_are_texts_cut_before(kind):
    given = {
        "list": lambda: CUT.tolist(),
        "object": lambda: CUT.astype(object),
        "bytes": lambda: CUT.astype("S"),
        "column of x": lambda: np.stack([CUT, CUT[::-1]], axis=1).astype(object),
        "frame": lambda: pytest.importorskip("pandas").DataFrame({"n": range(300), "text": CUT.tolist()}),
        "gaps": lambda: np.array([None, *CUT.tolist()], object),
    }
    (said,) = cut_texts.notes(given[kind]())
    assert "cut at 40 characters" in said and ("column" in said) == (kind in ("column of x", "frame"))


HONEST = {
    "whole": np.array(WHOLE),
    "whole, as objects": np.array(WHOLE, object),
    "between words": [text[:40].rsplit(" ", 1)[0] for text in WHOLE],
    "as many words at most": [" ".join(text.split()[:12]) for text in WHOLE],
    "padded": np.array([" ".join(text.split()[:6]).ljust(40) for text in WHOLE]),
    "postcodes": np.array([f"{k:05d}" for k in RNG.integers(0, 99999, 300)]),
    "accounts": np.array([" ".join(f"{k:04d}" for k in RNG.integers(0, 9999, 5)) for _ in range(300)]),
    "a form": [f"order {k:05d} from {CITIES[k % 3]}" for k in range(300)],
    "few": CUT[:9],
    "numbers": RNG.random((300, 4)),
    "images": np.zeros((20, 4, 4, 3), np.uint8),
    "nothing": None,
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_records_are_not(kind):
    assert cut_texts.notes(HONEST[kind]) == []


@pytest.mark.parametrize("shadows", [False, True])
def test_an_audit_of_a_model_tells_it_and_one_of_saved_answers_does_not(shadows):
    y, member = np.arange(300) % 2, np.arange(300) < 150
    p = np.eye(2)[y] * 0.4 + RNG.random((300, 1)) * [[0.1, -0.1]] + 0.3
    p /= p.sum(axis=1, keepdims=True)

    def fit(x, y, *, seed):
        return lambda x: np.tile([[0.6, 0.4]], (len(x), 1))

    def notes(model, x):
        more = {"shadows": fit, "num_shadows": 4} if shadows else {}
        return " ".join(mia.audit(model, x, y, member, attacks="loss", **more).notes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "cut at 40 characters" in notes(lambda x: p, CUT)
        assert "cut at" not in notes(lambda x: p, np.array(WHOLE, object))
    if not shadows:
        assert "cut at" not in notes(p, CUT)
