"""What ``mia-jax plan`` is, from a checkout: see mia_jax/commands/plan.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("plan")
