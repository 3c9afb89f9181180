"""How far behind the catalog a worker may be."""

__all__ = ["FRESH_S", "STALE_AT_MOST_S"]

FRESH_S = 1.0
"""Seconds for which an answer of the catalog is not asked for again: what a reference means, whether access to a gated
model is granted, whom a namespace trusts to sign.

A busy model is asked for many hundred times a second, and the catalog answers for every worker: with this it is asked
once in a second by each worker for each reference, however many call. More would be felt by whoever moves an alias,
revokes access or quarantines a version and looks whether it worked; less would save nobody anything. What is remembered
upon something remembered is as old as both: a version whose signature was checked, two of these at most.
"""

STALE_AT_MOST_S = 300.0
"""Seconds for which the last answer holds while the catalog is away: as long as the gateway trusts the keys that it
knows."""
