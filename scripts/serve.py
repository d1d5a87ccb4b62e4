"""What ``mia-jax serve`` is, from a checkout: see mia_jax/commands/serve.py."""

from mia_jax import commands

if __name__ == "__main__":
    commands.run("serve")
