"""What ``mia-jax synthesize`` is, from a checkout: see mia_jax/commands/synthesize.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("synthesize")
