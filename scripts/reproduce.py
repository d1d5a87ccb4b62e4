"""What ``mia-jax reproduce`` is, from a checkout: see mia_jax/commands/reproduce.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("reproduce")
