"""What ``mia-jax unlearning`` is, from a checkout: see mia_jax/commands/unlearning.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("unlearning")
