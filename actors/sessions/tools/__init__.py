"""Typed functions that a model may call: how they are described, and how they run."""
