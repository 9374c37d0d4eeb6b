"""Drivers under `ray job submit`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

DRIVER = """
    import asyncio, sys
    from llmgine.runtime import Runtime
    from toolbox import which

    async def main():
        async with Runtime.launch({"sessions": {"warm": 0}}, name=sys.argv[1]) as runtime:
            async with runtime.session(model="scripted/tool", tools=[which]) as session:
                print("ANSWER", (await session.ask("which?")).text)

    asyncio.run(main())
"""


async def test_a_driver_runs_as_a_ray_job(
    ray_dashboard: str, name: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """A script that launches a runtime, with a tool in a module beside it, runs unchanged as a job."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "driver.py").write_text(textwrap.dedent(DRIVER))
    (folder / "toolbox.py").write_text(
        'def which() -> str:\n    """Says whose tool this is."""\n    return "the job\'s own"\n'
    )
    client = JobSubmissionClient(f"http://{ray_dashboard}")

    def submitted() -> str | None:
        try:
            submission: str = client.submit_job(
                entrypoint=f"{sys.executable} driver.py {name}",
                runtime_env={
                    "working_dir": str(folder),
                    "env_vars": {"LLMGINE_DATA_DIR": str(tmp_path / "data")},
                },
            )
            return submission
        except RuntimeError as error:
            # Ray takes jobs only a while after it is up, and says so.
            if "try again later" not in str(error):
                raise
            return None

    job = await eventually(submitted, timeout=60.0)
    over = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)
    await eventually(lambda: client.get_job_status(job) in over, timeout=60.0)
    log = client.get_job_logs(job)
    assert client.get_job_status(job) == JobStatus.SUCCEEDED, log
    assert "ANSWER the job's own" in log
