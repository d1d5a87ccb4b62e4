"""What ``mia-jax report`` is, from a checkout: see mia_jax/commands/report.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("report")
