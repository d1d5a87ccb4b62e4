"""How shadows answered, in words that need no name of a function."""

from mia_jax.reports import answer_words


def test_at_least_is_said_in_words():
    """A forest's shadows "answered in the same format (at_least(0.05))"."""
    block = {"defences": ["at_least(0.05)"], "from": "the target's answers"}
    text = answer_words.shadows({"shadows": {"answers": block}, "target": {}, "attacks": {}})
    assert "in the same format (what is below 0.05 is told as 0, at_least(0.05))" in text
    block["defences"] = ["round_to(2)"]
    text = answer_words.shadows({"shadows": {"answers": block}, "target": {}, "attacks": {}})
    assert "in the same format (round_to(2))" in text
