"""Whole runs, from data to report: the paper's attack, balanced audits, deployed models, canaries.

``shokri.run``, ``balanced.audit.run``, ``deployed.audit.run`` and ``canaries.run``, each with its configuration.
Modules are imported by name: each brings what it needs.
"""
