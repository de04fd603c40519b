// A frame by time: the other half of kplab/jupyter/state.py, where the document's parts are described.
// frameAt(t) gives what Timeline.at(t) gives in Python, field for field; only a fold's rules stay with the kernel.

function named(names, part) {
  const made = {};
  names.forEach((name, place) => { made[name] = part[place] === undefined ? null : part[place]; });
  return made;
}

const LINE = ["mark", "chain", "depth", "number", "rule", "note", "tried", "evidence", "full", "count", "disagreement"];
const LANE = ["origin", "target", "direction"];

function mapsOf(state) {
  const lanes = state.lanes.map((lane) => named(LANE, lane));
  return state.maps.map(([station, hook, toward, from, to, direction, done, passed, ahead]) => ({
    place: station === null ? null : { station, hook, toward, from, to },
    direction,
    lanes: done.map((i) => lanes[i]),
    passed: passed.map((i) => state.passed[i]),
    ahead: ahead.map((i) => lanes[i]),
  }));
}

function walksOf(state) {
  const lines = state.lines.map((line, place) => ({ ...named(LINE, line), place }));
  const walks = [];
  for (const [node, hook, table, path, like, kept, added, tried, running] of state.walks) {
    const before = like < 0 ? [] : walks[like].lines.slice(0, kept);
    walks.push({ node, hook, table, path, lines: before.concat(added.map((i) => lines[i])), tried, running: running === 1 });
  }
  return walks;
}

/** The number of entries of a rising list that are at most `value`. */
function countUpTo(list, value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

class Story {
  constructor(state) {
    this.about = state.about;
    this.duration = state.duration;
    this.stops = state.stops;
    this.beats = state.beats;
    this.banners = state.banners.map((one) => named(["kind", "text"], one));
    this.hasLookups = state.asked.length > 0;
    this.board = {
      stations: state.board.stations.map((one) => named(["name", "role", "addresses", "hooks"], one)),
      edges: state.board.edges.map((one) => named(["left", "right", "via"], one)),
      others: state.board.others,
    };
    this.marks = state.marks.map(([label, node, kind, direction, packet, evidence, disagreement], hop) => (
      { hop, label, node, kind, direction, packet, evidence, disagreement: disagreement === 1 }
    ));
    this._starts = state.beats.map((beat) => beat[0]);
    this._moments = state.frames.map((frame) => frame[0]);
    this._frames = state.frames;
    this._hops = state.hops;
    this._maps = mapsOf(state);
    this._walks = walksOf(state);
    this._headers = state.headers.map((list) => list.map((field) => named(["name", "value", "was"], field)));
    const entries = state.entries.map((one) => (
      named(["node", "text", "original", "reply", "state", "mark", "id"], one)
    ));
    this._tables = state.tables.map((list) => list.map((i) => entries[i]));
    this._asked = state.asked;
  }

  hopAt(t) {
    return Math.min(Math.max(countUpTo(this._starts, t) - 1, 0), this._starts.length - 1);
  }

  /** Everything that is shown at `t`; parts that stay the same between two frames are the same objects. */
  frameAt(moment) {
    const t = Math.min(Math.max(moment, 0), this.duration);
    const [, hop, walk] = this._frames[Math.max(countUpTo(this._moments, t) - 1, 0)];
    const [map, headers, table, asked, sentence, next, evidence, where] = this._hops[Math.max(hop, 0)];
    return {
      t, hop, sentence, next, evidence, where,
      board: this.board, marks: this.marks, banners: this.banners,
      map: this._maps[map],
      place: this._placeAt(hop, this._maps[map].place, t),
      headers: this._headers[headers],
      walk: walk < 0 ? null : this._walks[walk],
      conntrack: this._tables[table],
      asked: asked < 0 ? null : this._asked[asked],
    };
  }

  _placeAt(hop, place, t) {
    if (place === null) return null;
    const { station, hook, toward, from, to } = place;
    if (toward === null) return { station, hook, toward, progress: 0 };
    const start = this._starts[hop];
    const end = hop + 1 < this._starts.length ? this._starts[hop + 1] : this.duration;
    const done = Math.min(1, (t - start) / Math.max(end - start, CLOSE));
    return { station, hook, toward, progress: from + (to - from) * done };
  }
}

const CLOSE = 1e-4;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

/** Where the play stands and how fast it goes; steps as the terminal's playback steps. */
class Playback {
  constructor(story) {
    this.story = story;
    this.position = 0;
    this.speed = 1;
    this.playing = false;
    this._clock = null;
  }

  get atEnd() { return this.position >= this.story.duration; }

  play(now) {
    if (this.atEnd) this.position = 0;
    this.playing = true;
    this._clock = now;
  }

  pause() { this.playing = false; this._clock = null; }

  advance(now) {
    if (!this.playing) return;
    if (this._clock !== null) {
      const gone = Math.max(now - this._clock, 0) * this.speed;
      this.position = Math.min(this.position + gone, this.story.duration);
    }
    this._clock = now;
    if (this.atEnd) this.pause();
  }

  /** The last moment at which nothing moves: what is shown to those who asked for less motion. */
  settled() {
    const { stops } = this.story;
    return stops.length ? stops[Math.max(countUpTo(stops, this.position + CLOSE) - 1, 0)] : 0;
  }

  stepHop(by) {
    this.pause();
    const hop = this.story.hopAt(this.position);
    if (by < 0) this.position = this._restOf(hop - 1);
    else if (this._rulesLeft(hop)) this.position = this._restOf(hop);
    else this.position = Math.max(this.position, this._restOf(hop + 1));
  }

  stepRule(by) {
    this.pause();
    const { stops } = this.story;
    if (by < 0) {
      const before = stops.filter((stop) => stop < this.position - CLOSE).length - 1;
      this.position = stops.length ? stops[Math.max(before, 0)] : 0;
      return;
    }
    const hop = this.story.hopAt(this.position);
    const from = this._rulesLeft(hop) ? this.position : Math.max(this.position, this._restOf(hop));
    const next = countUpTo(stops, from + CLOSE);
    this.position = next < stops.length ? stops[next] : from;
  }

  seekHop(hop) { this.pause(); this.position = this._restOf(hop); }

  home() { this.pause(); this.position = 0; }

  end() { this.pause(); this.position = this.story.duration; }

  faster(by) {
    const place = SPEEDS.indexOf(this.speed) + by;
    this.speed = SPEEDS[Math.min(Math.max(place, 0), SPEEDS.length - 1)];
  }

  _restOf(hop) {
    const { beats } = this.story;
    return beats.length ? beats[Math.min(Math.max(hop, 0), beats.length - 1)][1] : 0;
  }

  _rulesLeft(hop) {
    const [, rest, rules] = this.story.beats[hop];
    return rules === 1 && this.position < rest - CLOSE;
  }
}
