// The widget: a journey that plays. Python sends the whole story once; what is asked afterwards are only a fold's rules.

const PATIENCE = 2500;
const SILENT = "No answer: the notebook's kernel is busy, or it has ended. If it has ended, run the cell again to see these rules.";

/** Follow the theme of the page: JupyterLab's, VS Code's, else the browser's. */
function followTheme(root) {
  const wished = window.matchMedia("(prefers-color-scheme: dark)");
  const choose = () => {
    const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
    let dark = wished.matches;
    if (jpThemeLight !== undefined) dark = jpThemeLight === "false";
    else if (vscodeThemeKind !== undefined) dark = !vscodeThemeKind.includes("light");
    root.dataset.theme = dark ? "dark" : "light";
  };
  choose();
  wished.addEventListener("change", choose);
  const watcher = new MutationObserver(choose);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind", "class"] });
  return () => { wished.removeEventListener("change", choose); watcher.disconnect(); };
}

class Face {
  constructor(story, unfold) {
    this.story = story;
    this.playback = new Playback(story);
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.map = new MapView(story.board);
    this.walk = new WalkView(unfold);
    this.timeline = new TimelineView(story.marks, story.banners, (hop) => this.act(() => this.playback.seekHop(hop)));
    this.where = el("div", "kplab-where");
    this.headers = el("div", "kplab-headers");
    this.asked = el("section", "kplab-asked");
    this.entries = el("section", "kplab-entries");
    this.telling = el("div", "kplab-telling");
    this.telling.setAttribute("aria-live", "polite");
    this._last = {};
    this._tick = null;
    this.root = this._build();
    this.paint();
  }

  _build() {
    const root = el("div", "kplab-journey");
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `Journey of ${this.story.about.packet} from ${this.story.about.sender}`);
    const { packet, sender, mode, backend } = this.story.about;
    const tables = ["iptables", "ipvs", "userspace"].includes(mode) ? ` (iptables-${backend})` : "";
    const side = el("div", "kplab-side");
    if (this.story.hasLookups) side.append(this.asked);
    side.append(this.entries);
    root.append(
      el("header", "kplab-title", el("code", "", packet), el("span", "kplab-muted", ` from ${sender} · mode ${mode}${tables}`)),
      ...this.story.banners.map((banner) => el("div", "kplab-banner", `! ${banner.text}`)),
      ...this.story.about.findings.map((text) => el("div", "kplab-banner", `! ${text}`)),
      this.map.element,
      el("div", "kplab-legend", el("span", "kplab-request", "● request"), " ", el("span", "kplab-reply", "◆ reply"),
        this.story.board.others.length ? `  also in the lab: ${this.story.board.others.join(" ")}` : ""),
      this.where, this.headers, this.telling,
      el("div", "kplab-panes", this.walk.element, side),
      this.timeline.element, this._buildControls(),
    );
    return root;
  }

  _buildControls() {
    const button = (name, words, label, action) => {
      const made = el("button", `kplab-${name}`, words);
      made.type = "button";
      made.title = label;
      made.setAttribute("aria-label", label);
      made.addEventListener("click", () => this.act(action));
      return made;
    };
    const play = this.playback;
    this.playButton = button("play", "▶ play", "Play or pause (space)", () => this._toggle());
    this.speed = el("output", "kplab-speed");
    this.count = el("output", "kplab-hop");
    return el("div", "kplab-controls",
      button("home", "|‹", "To the beginning (Home)", () => play.home()),
      button("rule-back", "‹ rule", "One rule back (Shift+Left)", () => play.stepRule(-1)),
      button("hop-back", "‹ hop", "One hop back (Left)", () => play.stepHop(-1)),
      this.playButton,
      button("hop-on", "hop ›", "One hop on (Right)", () => play.stepHop(1)),
      button("rule-on", "rule ›", "One rule on (Shift+Right)", () => play.stepRule(1)),
      button("end", "›|", "To the end (End)", () => play.end()),
      this.count,
      button("slower", "−", "Slower (-)", () => play.faster(-1)), this.speed, button("faster", "+", "Faster (+)", () => play.faster(1)),
      el("span", "kplab-keys", "space plays · ← → hop · ⇧← ⇧→ rule · − + speed"),
    );
  }

  /** Take the keys that are ours while the focus is inside; all others are the notebook's, like Ctrl+S. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.composedPath().includes(this.root)) return;
    const play = this.playback;
    const onButton = event.target.tagName === "BUTTON";
    const actions = {
      " ": onButton ? null : () => this._toggle(),
      ArrowRight: () => (event.shiftKey ? play.stepRule(1) : play.stepHop(1)),
      ArrowLeft: () => (event.shiftKey ? play.stepRule(-1) : play.stepHop(-1)),
      Home: () => play.home(), End: () => play.end(),
      "+": () => play.faster(1), "=": () => play.faster(1), "-": () => play.faster(-1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    this.act(action);
  }

  _toggle() {
    if (this.playback.playing) this.playback.pause(); else this.playback.play(performance.now() / 1000);
  }

  act(action) {
    action();
    this.paint();
    if (this.playback.playing && this._tick === null) this._next();
  }

  _next() {
    this._tick = window.requestAnimationFrame(() => {
      this._tick = null;
      this.playback.advance(performance.now() / 1000);
      this.paint();
      if (this.playback.playing) this._next();
    });
  }

  paint() {
    const { playback, story, _last: last } = this;
    const frame = story.frameAt(this.calm.matches ? playback.settled() : playback.position);
    this.map.paint(frame.map, frame.place);
    if (frame.walk !== last.walk) this.walk.paint(frame.walk);
    if (frame.hop !== last.hop) {
      paintWhere(this.where, frame);
      paintStory(this.telling, frame);
      this.timeline.paint(frame.hop);
      this.count.textContent = `hop ${frame.hop + 1} of ${story.marks.length}`;
    }
    if (frame.headers !== last.headers) paintHeaders(this.headers, frame.headers);
    if (frame.asked !== last.asked) paintAsked(this.asked, frame.asked);
    if (frame.conntrack !== last.conntrack) paintEntries(this.entries, frame.conntrack);
    this.playButton.textContent = playback.playing ? "❚❚ pause" : "▶ play";
    this.speed.textContent = `${playback.speed}×`;
    this.root.dataset.t = playback.position.toFixed(4);
    this._last = frame;
  }

  layOut(width) {
    this.root.dataset.narrow = String(width < 720);
    this.map.layOut(width);
    this.timeline.layOut(width);
    this._last = {};
    this.paint();
    this.timeline.show();
  }

  stop() {
    this.playback.pause();
    if (this._tick !== null) window.cancelAnimationFrame(this._tick);
  }
}

function render({ model, el: host }) {
  const waiting = new Map();
  const unfold = (line, from) => {
    waiting.set(line, window.setTimeout(() => face.walk.fail(line, SILENT), PATIENCE));
    try { model.send({ kind: "unfold", line, from }); } catch (error) { console.warn(error); }
  };
  const answered = (message) => {
    if (message.kind !== "rules") return;
    window.clearTimeout(waiting.get(message.line));
    face.walk.answer(message.line, message.from, message.rules);
  };
  const face = new Face(new Story(JSON.parse(model.get("story"))), unfold);
  const forget = followTheme(face.root);
  // On the window, before it goes down to the document: there JupyterLab takes arrows and space for its own.
  const key = (event) => face.key(event);
  window.addEventListener("keydown", key, true);
  host.append(face.root);
  model.on("msg:custom", answered);
  const sizes = new ResizeObserver(() => {
    const width = face.root.clientWidth - 24;
    if (width > 0) face.layOut(width);
  });
  sizes.observe(face.root);
  return () => {
    face.stop(); forget(); sizes.disconnect(); window.removeEventListener("keydown", key, true); model.off("msg:custom", answered);
    for (const timer of waiting.values()) window.clearTimeout(timer);
  };
}

export { Playback, Story };
export default { render };
