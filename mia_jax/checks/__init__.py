"""Whether what a user gave fits together: labels, answers, numbers, and who is said to have trained what. Never imports
jax.

Nothing here measures an attack. Each file looks for one mishap that makes numbers wrong without an error, by statistics
in which honest files are hardly ever accused (simulated in its tests), and says it in a sentence that names models or
rows and the next move. They are sorted by what would be wrong: ``labels``, ``membership`` (who trained on which
record), ``answers`` (their rows), ``models`` (one beside the others), ``signals`` (one number per record), ``records``
(beside answers, or for shadows). For themselves stand ``alone`` (a target without shadows), ``unlearned`` and
``one_run`` (unlearning) and ``unnoticed`` (what none of them would notice in a file).

``audits.deployed.remarks`` and ``numbers`` ask them all. ``chance``, ``samples`` and ``naming`` are shared.
"""
