"""What every test has: a state folder of its own, and no silent skip where it must run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# In CI the same examples run every time; a developer's machine looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")

MUST_RUN = {"unit", "kernel", "vm", "tui", "lessons", "architecture", "notebooks", "containers", "browser"}


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the developer's own progress, cache and configuration out of every test."""
    folder = tmp_path_factory.mktemp("state")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI, turn the skip of a test that must run here into a failure that says what is lacking."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    markers = {mark.name for mark in item.iter_markers()}
    if report.skipped and os.environ.get("CI") == "true" and markers & MUST_RUN and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped where it must run: {reason}"
    return report  # type: ignore[return-value]
