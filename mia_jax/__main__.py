"""``python -m mia_jax``, which is ``mia-jax``."""

from mia_jax.commands import main

if __name__ == "__main__":
    main()
