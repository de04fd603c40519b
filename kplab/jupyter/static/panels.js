// The panels beside the map: where and headers, walk, lookup, conntrack, story, timeline. Each paints one part of a frame.

const EVIDENCE = { seen: "●", rebuilt: "◐", modelled: "○" };
const MEANING = {
  seen: "the kernel said so", rebuilt: "from the kernel's own state", modelled: "our model says so",
};
const SIGNS = { match: "✓", skip: "✗", fold: "…", end: "↩", lookup: "≡" };
const CHANGES = {
  new: ["+", "new in this hop"], changed: ["~", "changed in this hop"], used: ["=", "used in this hop"],
  destroyed: ["-", "destroyed in this hop"], "": [" ", ""],
};

/** Make an element; strings become text, never HTML. */
function el(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function group(number) { return number.toLocaleString("en"); }

function shortChain(name) {
  const found = /^(KUBE-.+)-([A-Z0-9]{16})$/.exec(name);
  return found ? `${found[1]}-${found[2].slice(0, 4)}…` : name;
}

function paintWhere(box, { where, evidence }) {
  const sign = el("span", `kplab-evidence kplab-${evidence}`, `${EVIDENCE[evidence]} ${evidence}`);
  box.replaceChildren(
    el("span", "kplab-place", where.split(" · ").join(" ▸ ")),
    el("span", "kplab-how", sign, `: ${MEANING[evidence]}`),
  );
}

function paintHeaders(box, headers) {
  const shown = headers.filter((field) => !(field.name === "mark" && field.value === "0x0" && field.was === null));
  box.replaceChildren(...shown.map((field) => {
    const name = el("span", "kplab-key", field.name);
    if (field.was === null) return el("span", "kplab-field", name, " ", field.value);
    return el("span", "kplab-field kplab-changed", name, " ", el("s", "", field.was), " ⇒ ", el("b", "", field.value));
  }));
}

class WalkView {
  /** `unfold(line, from)` asks the kernel for a fold's rules, from the one of that number on. */
  constructor(unfold) {
    this.title = el("div", "kplab-heading");
    this.list = el("div", "kplab-lines");
    this.list.tabIndex = -1;
    this.element = el("section", "kplab-walk", this.title, this.list);
    this.element.setAttribute("aria-label", "Rules tried");
    this._unfold = unfold;
    this._rules = new Map();
    this._open = new Set();
    this._walk = null;
  }

  paint(walk) {
    this._walk = walk;
    if (walk === null) {
      this.title.replaceChildren("no rule was tried yet");
      this.list.replaceChildren();
      return;
    }
    const chains = walk.path.map(shortChain);
    const path = chains.length > 3 ? [chains[0], "…", ...chains.slice(-2)] : chains;
    this.title.replaceChildren(
      el("span", "kplab-muted", `${walk.running ? "" : "last walk: "}${walk.node} · ${walk.table || "?"} · `),
      el("b", "", path.join(" → ") || walk.hook || ""), el("span", "kplab-count", `tried ${group(walk.tried)}`),
    );
    this.title.title = walk.path.join(" → ");
    const rows = walk.lines.flatMap((line, place) => this._rowsOf(line, walk.running && place === walk.lines.length - 1));
    this.list.replaceChildren(...rows);
    this.list.scrollTop = this.list.scrollHeight;
  }

  _rowsOf(line, now) {
    if (line.mark !== "fold") return [this._row(line, now)];
    if (!this._open.has(line.place)) return [this._foldRow(line, now, `${line.rule}: ${line.note}`, "unfold")];
    return [this._foldRow(line, now, `${line.rule}: ${line.note}`, "fold again"), ...this._unfolded(line)];
  }

  _row(line, now) {
    const wrong = line.disagreement !== null;
    const note = wrong ? `disagrees: ${line.disagreement}` : line.note;
    const text = line.mark === "end" ? `${line.rule}: ${line.note}` : line.rule;
    const row = el(
      "div", `kplab-line kplab-${line.mark}${now ? " kplab-now" : ""}${wrong ? " kplab-wrong" : ""}`,
      el("span", `kplab-evidence kplab-${line.evidence}`, EVIDENCE[line.evidence]),
      el("span", "kplab-number", line.number === null ? "" : String(line.number)),
      el("span", "kplab-sign", wrong ? "!" : SIGNS[line.mark]),
      el("span", "kplab-rule", text),
      el("span", "kplab-note", line.mark === "end" ? "" : note),
    );
    row.style.setProperty("--kplab-depth", Math.min(line.depth, 6));
    if (line.full) row.title = line.full;
    return row;
  }

  _foldRow(line, now, text, action) {
    const button = el("button", "kplab-unfold", action);
    button.type = "button";
    button.setAttribute("aria-expanded", String(action !== "unfold"));
    button.addEventListener("click", () => this._toggle(line));
    const row = el("div", `kplab-line kplab-fold${now ? " kplab-now" : ""}`,
      el("span", "kplab-evidence kplab-rebuilt", EVIDENCE[line.evidence]), el("span", "kplab-number"),
      el("span", "kplab-sign", SIGNS.fold), el("span", "kplab-rule", text), el("span", "kplab-note", button));
    row.style.setProperty("--kplab-depth", Math.min(line.depth, 6));
    return row;
  }

  _unfolded(line) {
    const known = this._rules.get(line.place) || { rules: [], told: "asking the notebook's kernel …" };
    const rows = known.rules.map(([number, rule, note, full]) => this._row({ ...line, mark: "skip", number, rule, note, full }, false));
    if (known.told) rows.push(el("div", "kplab-line kplab-told", known.told));
    else if (known.rules.length < line.count) {
      const more = el("button", "kplab-unfold", `${group(line.count - known.rules.length)} more`);
      more.type = "button";
      more.addEventListener("click", () => this._ask(line));
      rows.push(el("div", "kplab-line kplab-told", more));
    }
    return rows;
  }

  _toggle(line) {
    if (this._open.delete(line.place)) { this._keep(); return; }
    this._open.add(line.place);
    if (this._rules.has(line.place)) this._keep(); else this._ask(line);
  }

  _ask(line) {
    const known = this._rules.get(line.place) || { rules: [], told: "" };
    this._rules.set(line.place, { ...known, told: "asking the notebook's kernel …" });
    this._keep();
    this._unfold(line.place, known.rules.length);
  }

  /** The kernel's answer: rules `from` and following of the fold `line`. */
  answer(line, from, rules) {
    const known = this._rules.get(line) || { rules: [] };
    this._rules.set(line, { rules: known.rules.slice(0, from).concat(rules), told: "" });
    this._keep();
  }

  /** No answer came: say so in the fold's place. */
  fail(line, told) {
    const known = this._rules.get(line) || { rules: [] };
    this._rules.set(line, { ...known, told });
    this._keep();
    this._rules.delete(line);
  }

  /** Paint again, and stay where the reader is. */
  _keep() {
    const { scrollTop } = this.list;
    this.paint(this._walk);
    this.list.scrollTop = scrollTop;
  }
}

function counts(before, after) { return before === after ? `${before}` : `${before} ⇒ ${after}`; }

function paintAsked(box, asked) {
  const head = el("div", "kplab-heading", el("b", "", "lookup"));
  if (asked === null) {
    box.replaceChildren(head, el("div", "kplab-muted", "No map, set or IPVS was asked up to this hop."));
    return;
  }
  head.append(el("span", "kplab-muted", ` ${asked.here ? "" : "the last one: "}${asked.where}`));
  box.replaceChildren(head);
  if (asked.lookup) box.append(...lookupRows(asked.lookup, asked.fields));
  if (asked.ipvs) box.append(...choiceRows(asked.ipvs));
}

function lookupRows(lookup, fields) {
  const many = lookup.elements > 0 ? ` among ${group(lookup.elements)} element${lookup.elements === 1 ? "" : "s"}` : "";
  const rows = [el("div", "", el("b", "", lookup.map), `   1 lookup${many}`)];
  fields.forEach((field, place) => rows.push(
    el("div", "kplab-pair", el("span", "kplab-key", place ? ". " : "key "), `${field.name} `,
      el("span", "kplab-request", field.value), field.data ? el("span", "kplab-muted", `  ${field.data}`) : null),
  ));
  if (lookup.element === null) return [...rows, el("div", "kplab-wrong", "✗ no element has this key")];
  const parted = lookup.element.lastIndexOf(" : ");
  const answer = parted < 0 ? lookup.element : `→ ${lookup.element.slice(parted + 3)}`;
  return [...rows, el("div", "kplab-match", `✓ ${answer}`), el("div", "kplab-pair kplab-muted", `element ${lookup.element}`)];
}

function choiceRows(choice) {
  const cell = (tag, text, changed) => el(tag, changed ? "kplab-changed" : "", text);
  const head = el("tr", "", ...["", "real server", "weight", "active", "inactive"].map((text) => cell("th", text)));
  const rows = choice.candidates.map((one) => el(
    "tr", one.address === choice.chosen ? "kplab-match" : "", cell("td", one.address === choice.chosen ? "✓" : ""),
    cell("td", one.address), cell("td", `${one.weight}`),
    cell("td", counts(one.active_before, one.active_after), one.active_before !== one.active_after),
    cell("td", counts(one.inactive_before, one.inactive_after), one.inactive_before !== one.inactive_after),
  ));
  const parts = [el("div", "", el("b", "", choice.virtual_server), `   scheduler ${choice.scheduler}`), el("table", "", head, ...rows)];
  if (!choice.candidates.some((one) => one.address === choice.chosen)) {
    parts.push(el("div", "kplab-match", `✓ ${choice.chosen} was chosen, which is not in the list`));
  }
  if (choice.connection) parts.push(el("div", "kplab-pair kplab-muted", `connection ${choice.connection.split(/\s+/).join(" ")}`));
  return parts;
}

function paintEntries(box, entries) {
  const head = el("div", "kplab-heading", el("b", "", "conntrack"), el("span", "kplab-muted", " as of this hop"));
  if (!entries.length) {
    box.replaceChildren(head, el("div", "kplab-muted", "No conntrack entry was made or used up to this hop."));
    return;
  }
  box.replaceChildren(head, ...entries.map((entry) => {
    const [sign, words] = CHANGES[entry.mark];
    const made = el(
      "div", `kplab-entry${entry.mark === "new" || entry.mark === "changed" ? " kplab-fresh" : ""}`,
      el("div", "", el("b", "", `${sign} ${entry.node} `), `${entry.state || ""} `, el("span", "kplab-changed", words)),
      el("div", "kplab-pair", el("span", "kplab-key", "sent"), " ", el("span", "kplab-request", entry.original)),
      el("div", "kplab-pair", el("span", "kplab-key", "answer"), " ", el("span", "kplab-reply", entry.reply)),
    );
    made.title = entry.text;
    return made;
  }));
}

function paintStory(box, { sentence, next }) {
  box.replaceChildren(
    el("div", "kplab-why", el("span", "kplab-key", "why"), el("span", "", sentence)),
    el("div", "kplab-next", el("span", "kplab-key", "next"), el("span", "", next)),
  );
}

class TimelineView {
  constructor(marks, banners, seek) {
    this.marks = marks;
    this.element = el("div", "kplab-timeline");
    this.element.setAttribute("role", "slider");
    this.element.setAttribute("aria-label", "Hop");
    this.element.setAttribute("aria-valuemin", "1");
    this.element.setAttribute("aria-valuemax", String(Math.max(marks.length, 1)));
    this._runs = [];
    this._cells = marks.map((mark) => this._addMark(mark));
    this._hop = -1;
    const lost = banners.find((banner) => banner.kind === "lost");
    if (lost) this.element.append(el("div", "kplab-wrong", `╳ ${lost.text.split(",")[0]}`));
    this.element.addEventListener("click", (event) => {
      const { hop } = event.target.dataset;
      if (hop !== undefined) seek(Number(hop));
    });
  }

  _addMark(mark) {
    const before = this.marks[mark.hop - 1];
    const parted = !before || before.packet !== mark.packet || before.direction !== mark.direction;
    if (parted || before.node !== mark.node) {
      const run = { arrow: parted ? (mark.direction === "request" ? "→ " : "← ") : "", node: mark.node, count: 0 };
      run.name = el("div", "kplab-run-name");
      run.marks = el("div", "kplab-marks");
      this.element.append(el("div", `kplab-run${parted ? " kplab-parted" : ""}`, run.name, run.marks));
      this._runs.push(run);
    }
    const sign = mark.disagreement ? "!" : EVIDENCE[mark.evidence];
    const cell = el("span", `kplab-mark kplab-${mark.direction}${mark.disagreement ? " kplab-wrong" : ""}`, sign);
    cell.title = `hop ${mark.hop + 1}: ${mark.label} in ${mark.node} (${mark.evidence})`;
    cell.dataset.hop = mark.hop;
    const run = this._runs[this._runs.length - 1];
    run.marks.append(cell);
    run.count += 1;
    return cell;
  }

  /** Give each mark its share of `width`; names are written where there is room over their marks. */
  layOut(width) {
    const parts = this._runs.filter((run) => run.arrow).length;
    const share = (width - this._runs.length * 4 - parts * 9) / Math.max(this.marks.length, 1);
    const size = Math.floor(Math.min(Math.max(share, 8), 13) * 10) / 10;
    this.element.style.setProperty("--kplab-mark", `${size}px`);
    for (const run of this._runs) {
      const fits = run.count * size >= (run.arrow.length + run.node.length) * 6.4;
      run.name.textContent = fits ? `${run.arrow}${run.node}` : run.arrow.trim();
    }
  }

  paint(hop) {
    if (hop === this._hop) return;
    this._hop = hop;
    this._cells.forEach((cell, place) => {
      cell.classList.toggle("kplab-past", place < hop);
      cell.classList.toggle("kplab-now", place === hop);
    });
    const mark = this.marks[hop];
    this.element.setAttribute("aria-valuenow", String(hop + 1));
    if (mark) this.element.setAttribute("aria-valuetext", `hop ${hop + 1} of ${this.marks.length}: ${mark.label} in ${mark.node}`);
    this.show();
  }

  /** Bring the hop that is shown into sight. */
  show() {
    const cell = this._cells[this._hop];
    if (!cell) return;
    const middle = cell.offsetLeft - this.element.clientWidth / 2;
    this.element.scrollLeft = Math.max(middle, 0);
  }
}
