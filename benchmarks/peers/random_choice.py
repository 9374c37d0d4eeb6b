"""Chance alone."""

from __future__ import annotations

from benchmarks.simulated.stage import stage_of

stage = stage_of("random")
