"""What ``mia-jax train`` is, from a checkout: see mia_jax/commands/train.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("train")
