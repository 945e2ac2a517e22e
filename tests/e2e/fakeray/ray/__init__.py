"""A strict stand-in for Ray: what Astra uses of Ray 2.60, as it was measured, and nothing else."""

__version__ = "2.60.0"
