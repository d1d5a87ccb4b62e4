"""Canaries: the kinds of them, and what several models tell of each."""
