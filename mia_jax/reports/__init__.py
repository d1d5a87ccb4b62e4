"""Pages, figures, and what numbers mean in words. Never imports jax."""
