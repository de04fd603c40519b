// The map: boxes from left to right, the way out above, the way back beneath, and one mark that moves.

const SVG = "http://www.w3.org/2000/svg";
const ROW = 20;
const HEAD = 46;
const BOX = 150;
const LEAST_GAP = 64;

function draw(tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

function cut(text, most) { return text.length > most ? `${text.slice(0, most - 1)}…` : text; }

class MapView {
  constructor(board) {
    this.board = board;
    this.rows = Math.max(4, ...board.stations.map((station) => station.hooks.length));
    this.height = HEAD + this.rows * ROW + 14;
    this.upper = 38;
    this.lower = this.height - 20;
    this.element = draw("svg", { class: "kplab-map", role: "img" });
    this.element.append(draw("title", {}, "Map of the network namespaces that the packet meets"));
    this._state = null;
    this.layOut(900);
  }

  /** Place the boxes in `width` pixels; the picture shrinks as a whole when that is too little. */
  layOut(width) {
    const count = this.board.stations.length;
    const least = count * BOX + (count - 1) * LEAST_GAP + 4;
    const gap = Math.max(LEAST_GAP, Math.min(190, count > 1 ? (width - count * BOX - 4) / (count - 1) : 0));
    this.width = Math.max(least, Math.min(width, count * BOX + (count - 1) * gap + 4));
    this.boxes = this.board.stations.map((_, place) => 2 + place * (BOX + gap));
    this.element.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.element.style.maxWidth = `${this.width}px`;
    this._drawFixed();
  }

  _drawFixed() {
    this.element.replaceChildren(this.element.firstChild);
    this.lanes = new Map();
    this.hooks = new Map();
    this.frames = new Map();
    this.board.edges.forEach((edge, place) => this._drawEdge(edge, place));
    this.board.stations.forEach((station, place) => this._drawBox(station, this.boxes[place]));
    this.circle = draw("circle", { r: 7, class: "kplab-packet kplab-request" });
    this.diamond = draw("path", { d: "M0 -8L8 0L0 8L-8 0Z", class: "kplab-packet kplab-reply" });
    this.element.append(this.circle, this.diamond);
    this._state = null;
  }

  _drawEdge(edge, place) {
    const begin = this.boxes[place] + BOX;
    const end = this.boxes[place + 1];
    for (const [from, to, y] of [[edge.left, edge.right, this.upper], [edge.right, edge.left, this.lower]]) {
      const right = from === edge.left;
      const tip = right ? end - 2 : begin + 2;
      const back = right ? -8 : 8;
      const lane = draw("g", { class: "kplab-lane" });
      lane.append(
        draw("line", { x1: begin + (right ? 2 : 8), x2: end - (right ? 8 : 2), y1: y, y2: y }),
        draw("path", { d: `M${tip} ${y}l${back} -5v10z` }),
      );
      this.lanes.set(`${from}>${to}`, lane);
      this.element.append(lane);
    }
    if (edge.via) {
      const middle = { x: (begin + end) / 2, y: (this.upper + this.lower) / 2 + 4, class: "kplab-via", "text-anchor": "middle" };
      this.element.append(draw("text", middle, cut(edge.via, 12)));
    }
  }

  _drawBox(station, x) {
    const group = draw("g", { class: "kplab-box" });
    group.append(draw("rect", { x, y: 2, width: BOX, height: this.height - 4, rx: 6 }));
    group.append(draw("text", { x: x + 10, y: 19, class: "kplab-name" }, cut(station.name, 18)));
    group.append(draw("text", { x: x + 10, y: 36, class: "kplab-address" }, cut(station.addresses[0] || "", 20)));
    group.append(draw("title", {}, [`${station.name} (${station.role})`, ...station.addresses].join("\n")));
    station.hooks.forEach((hook, row) => this._drawHook(group, station, hook, x, HEAD + row * ROW));
    const here = this._drawHook(group, station, null, x, HEAD);
    here.text.textContent = "here";
    this.frames.set(station.name, group);
    this.element.append(group);
  }

  _drawHook(group, station, hook, x, y) {
    const row = draw("g", { class: hook === null ? "kplab-hook kplab-inside" : "kplab-hook" });
    const sign = draw("text", { x: x + 16, y: y + 14, "text-anchor": "middle", class: "kplab-sign" });
    const text = draw("text", { x: x + 28, y: y + 14 }, hook);
    row.append(draw("rect", { x: x + 4, y, width: BOX - 8, height: ROW - 1, rx: 3 }), sign, text);
    group.append(row);
    const parts = { row, sign, text };
    this.hooks.set(`${station.name}>${hook === null ? "" : hook}`, parts);
    return parts;
  }

  paint(state, place) {
    if (state !== this._state) {
      this._state = state;
      this._paintWays(state);
      this._paintHooks(state);
    }
    this._paintPlace(state.direction, place);
  }

  _paintWays(state) {
    for (const [name, lane] of this.lanes) {
      const is = (way) => `${way.origin}>${way.target}` === name;
      const done = state.lanes.find(is);
      lane.setAttribute("class", `kplab-lane ${done ? `kplab-${done.direction}` : state.ahead.some(is) ? "kplab-ahead" : ""}`);
    }
  }

  _paintHooks(state) {
    const ways = new Map();
    for (const [station, hook, direction] of state.passed) {
      const name = `${station}>${hook}`;
      ways.set(name, (ways.get(name) || new Set()).add(direction));
    }
    const { place } = state;
    for (const [name, { row, sign }] of this.hooks) {
      const passed = ways.get(name) || new Set();
      const inside = name.endsWith(">");
      const at = place !== null && place.toward === null
        && (inside ? `${place.station}>` === name && !this.hooks.has(`${place.station}>${place.hook}`) : `${place.station}>${place.hook}` === name);
      sign.textContent = at ? (state.direction === "request" ? "●" : "◆")
        : passed.size === 2 ? "↔" : passed.has("request") ? "→" : passed.has("reply") ? "←" : "";
      const tone = at ? `kplab-here kplab-${state.direction}` : passed.size ? `kplab-passed kplab-${passed.has("request") ? "request" : "reply"}` : "";
      row.setAttribute("class", `kplab-hook ${inside ? "kplab-inside" : ""} ${tone}`);
    }
    for (const [name, box] of this.frames) {
      const here = place !== null && place.toward === null && place.station === name;
      box.setAttribute("class", `kplab-box ${here ? `kplab-here kplab-${state.direction}` : ""}`);
    }
  }

  _paintPlace(direction, place) {
    const moving = place !== null && place.toward !== null;
    const [mark, other] = direction === "request" ? [this.circle, this.diamond] : [this.diamond, this.circle];
    other.style.display = "none";
    mark.style.display = moving ? "" : "none";
    if (!moving) return;
    const index = (name) => this.board.stations.findIndex((station) => station.name === name);
    const [a, b] = [index(place.station), index(place.toward)];
    if (a < 0 || b < 0) { mark.style.display = "none"; return; }
    const [begin, end] = a < b ? [this.boxes[a] + BOX, this.boxes[b]] : [this.boxes[a], this.boxes[b] + BOX];
    const x = begin + (end - begin) * place.progress;
    mark.setAttribute("transform", `translate(${x.toFixed(1)} ${a < b ? this.upper : this.lower})`);
    mark.dataset.progress = place.progress.toFixed(3);
  }
}
