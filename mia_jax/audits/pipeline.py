"""Whole runs, by the kind of their configuration."""

from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig
from mia_jax.audits.deployed import audit as deployed
from mia_jax.audits.plans import balanced, canaries, shokri

RUNS = {
    Config: shokri.run,
    BalancedConfig: balanced.run,
    DeployedConfig: deployed.run,
    CanaryConfig: canaries.run,
}


def run(config, **options):
    """Do what the configuration says in its workdir; what results.json holds."""
    return RUNS[type(config)](config, **options)
