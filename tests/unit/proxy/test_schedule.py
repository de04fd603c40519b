"""When a family is synced, on a clock that the test moves."""

from __future__ import annotations

import pytest

from kplab.proxy.schedule import Schedule

pytestmark = pytest.mark.unit


def test_nothing_is_due_before_it_is_asked_for() -> None:
    """Nothing is written until the manifest has been read once."""
    schedule = Schedule(1.0, 30.0)

    assert schedule.next_run is None
    assert not schedule.due(1000.0)


def test_the_first_run_is_due_at_once() -> None:
    """No run came before, so there is nothing to wait for."""
    schedule = Schedule(1.0, 30.0)
    schedule.ask(5.0)

    assert schedule.due(5.0)


def test_a_change_soon_after_a_run_waits_for_the_minimum_interval() -> None:
    """The interval counts from the end of the last run, and changes within it share one run."""
    schedule = Schedule(1.0, 30.0)
    schedule.ask(0.0)
    schedule.finished(10.0, succeeded=True)
    schedule.ask(10.1)
    schedule.ask(10.7)

    assert not schedule.due(10.9)
    assert schedule.due(11.0)


def test_a_change_long_after_a_run_is_due_at_once() -> None:
    """The minimum interval has passed already."""
    schedule = Schedule(1.0, 30.0)
    schedule.ask(0.0)
    schedule.finished(0.5, succeeded=True)
    schedule.ask(20.0)

    assert schedule.due(20.0)


def test_a_failed_run_is_tried_again_after_the_sync_period() -> None:
    """But a change that comes before does not wait for that."""
    schedule = Schedule(1.0, 30.0)
    schedule.ask(0.0)
    schedule.finished(1.0, succeeded=False)

    assert schedule.next_run == 31.0

    schedule.ask(5.0)

    assert schedule.due(5.0)


def test_a_run_comes_each_hour_whatever_happens() -> None:
    """FullSyncPeriod bounds how long a state can go unchecked."""
    schedule = Schedule(1.0, 30.0)
    schedule.ask(0.0)
    schedule.finished(1.0, succeeded=True)

    assert not schedule.due(3600.0)
    assert schedule.due(3601.0)
