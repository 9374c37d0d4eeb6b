"""Answers that are kept for equal requests, and calls that equal requests share while they are under way."""
