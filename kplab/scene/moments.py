"""Two stories in step: for each row of both, what each column shows at that moment, and what differs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.journey import Evidence, Hop
from kplab.scene.differences import Difference, difference, next_difference
from kplab.scene.frame import Banner, Frame
from kplab.scene.side_by_side import Row, Story, align
from kplab.scene.timeline import Timeline, idle_frame
from kplab.trace.compare_tally import Tally, tallies


@dataclass(frozen=True, slots=True)
class Shown:
    """What one column shows."""

    story: Story
    frame: Frame
    """Of its latest hop, all of it told."""
    hop: Hop | None
    """Its latest hop; None before its first."""
    acting: bool
    """Whether that hop is this row's; False while the other column goes on alone."""
    tally: Tally
    """Its counts so far."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One row of both."""

    number: int
    """0-based."""
    row: Row
    left: Shown
    right: Shown
    difference: Difference


@dataclass(frozen=True, slots=True)
class TrackMark:
    """One row of one column's track; `evidence` None where it has nothing in that row."""

    evidence: Evidence | None
    disagreement: bool


class InStep:
    """Two stories, aligned, and a moment for each row."""

    def __init__(self, left: Story, right: Story) -> None:
        self.stories = (left, right)
        self.rows = align(left.journey, right.journey)
        self._timelines = tuple(Timeline(story.journey, story.topology) for story in self.stories)
        self._tallies = tuple(tallies(story.journey.hops) for story in self.stories)

    def moment(self, number: int) -> Moment | None:
        """Return the moment of a row (0-based; beyond the ends, of the nearest); None when there is none."""
        if not self.rows:
            return None
        number = min(max(number, 0), len(self.rows) - 1)
        row = self.rows[number]
        left = self._shown(0, row.at[0], row.left is not None)
        right = self._shown(1, row.at[1], row.right is not None)
        return Moment(number, row, left, right, difference(row, *self.stories))

    def next_difference(self, number: int, by: int) -> int:
        """Return the next row after (1) or before (-1) this one in which the two differ; itself if there is none."""
        return next_difference(self.rows, number, by, *self.stories)

    def track(self, column: int) -> tuple[TrackMark, ...]:
        """Return a mark a row of the left (0) or right (1) column."""
        hops = self.stories[column].journey.hops
        found = []
        for row in self.rows:
            index = (row.left, row.right)[column]
            hop = hops[index] if index is not None else None
            found.append(TrackMark(hop.evidence if hop else None, hop is not None and hop.disagreement is not None))
        return tuple(found)

    def banners(self, column: int) -> tuple[Banner, ...]:
        """Return what must be said of a column's story whatever is shown of it."""
        return self._timelines[column].banners

    def _shown(self, column: int, index: int, acting: bool) -> Shown:
        story, timeline = self.stories[column], self._timelines[column]
        if index < 0:
            return Shown(story, idle_frame(timeline.board), None, False, Tally())
        frame = timeline.at(timeline.rest_of(index))
        return Shown(story, frame, story.journey.hops[index], acting, self._tallies[column][index])
