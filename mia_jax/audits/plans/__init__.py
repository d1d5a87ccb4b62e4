"""The plans of audits: what each kind of audit does at each step of ``audits/pipeline.py``."""
