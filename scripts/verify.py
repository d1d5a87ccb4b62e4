"""What ``mia-jax verify`` is, from a checkout: see mia_jax/commands/verify.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("verify")
