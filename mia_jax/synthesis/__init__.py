"""Shadow data for an adversary without data (Shokri et al. 2017, section V-C): three Samplers.

``noisy``: records of the population, with errors. ``marginal``: attributes drawn from their marginals. ``search``:
Algorithm 1, which needs the target's answers alone.
"""
