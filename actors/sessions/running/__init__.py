"""Turns at work: engines decide the next step, the runner takes it."""
