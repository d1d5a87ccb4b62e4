"""The audit of a model that somebody else has trained: behind a URL, or known by saved predictions."""
