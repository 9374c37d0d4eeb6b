"""A test of the tests: with any one promise broken on purpose, the simulation of sessions fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.sessions.bugs import BUGS
from tests.simulation.sessions.run import HASH_SEED

SEEDS = 60
"""Within so many runs each bug must have given itself away."""

_ROOT = Path(__file__).parents[3]
