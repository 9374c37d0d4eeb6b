"""The case `routing`: which actor of a pool takes a call, in virtual time."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case

SCENARIOS: Final = ("even", "slow", "sparse", "dying", "heavy", "bursty", "scaled")

CASE: Final = Case(
    name="routing",
    summary="choices among the actors of a pool, simulated: waits until first chunks, and even loads",
    figures=(
        *(f"{one}_{figure}" for one in SCENARIOS for figure in ("p99_ms", "imbalance", "stayed_percent")),
        "scaled_actors",
    ),
    peers=("random_choice", "least_loaded"),
    caveats=(
        "the router is the one that runs; actors, callers and calls are simulated, from equal seeds for all",
        "8 actors of 16 slots at 70 % load: even is without trouble, in slow one takes four times as long"
        " for a third of the time, in dying one falls silent, in heavy calls last as a Pareto"
        " distribution says, in bursty they come in bursts; 6 processes call, in sparse 40, with slow",
        "in scaled the pool begins with 2 actors, which the autoscaler makes up to 8 and fewer again while"
        " calls come at a fifth of the rate, at the whole of it, and at a fifth again; an actor takes 3 s to"
        " start; scaled_actors is how many there were in the mean",
        "imbalance is the load of the fullest actor over the mean; stayed is the share of calls that went"
        " where their session's last one went, which only ours tries for",
        "least_loaded is told every half second what each actor carries by all callers, and counts its own"
        " between; ours hears of an actor only with the answers to its own calls, so it knows little of"
        " each in sparse",
    ),
)
