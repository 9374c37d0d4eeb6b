"""Pools in virtual time: the pure cores of routing and scaling among simulated actors and callers."""
