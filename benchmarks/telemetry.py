"""The case `telemetry`: what it costs that everything is observed."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case

CASE: Final = Case(
    name="telemetry",
    summary="what the bus, a turn and a span lose to telemetry",
    figures=("loss_percent_bus", "loss_percent_turn", "us_per_span"),
    peers=("otel_sdk",),
    caveats=(
        "two runtimes of one Ray cluster, with telemetry as it is by default and without, are measured in"
        " turns, a short while each; a figure is the median over pairs of such whiles, and where it is below"
        " zero, the machine had other things to do",
        "the telemetry actor works on the same cores, so its own work is part of the loss",
        "a turn is one call of a scripted model that streams sixty words without waiting, in sessions of"
        " fifty turns, whose store is in memory: a longer answer, tools and a network make the share smaller,"
        " a short answer greater",
        "us_per_span is starting and ending one span with eight attributes and, for ours, packing it for its"
        " way; otel_sdk hands it to a batch processor whose exporter does nothing",
    ),
    timeout=900.0,
)
