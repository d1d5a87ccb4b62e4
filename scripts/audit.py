"""What ``mia-jax audit`` is, from a checkout: see mia_jax/commands/audit.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("audit")
