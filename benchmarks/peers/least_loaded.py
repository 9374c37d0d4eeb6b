"""The fewest calls in flight, by counts that are told now and then."""

from __future__ import annotations

from benchmarks.simulated.stage import stage_of

stage = stage_of("least_loaded")
