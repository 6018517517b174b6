// The map: one State per mounted element. Python owns the selection, the browser the view.

const MOVE_MS = 600; // animation from one epoch to the next
const DWELL_MS = 125; // until the card of a point appears
const THUMB = 72; // CSS pixels
const WRONG = 1; // bits of the flags
const SELECTED = 2;
const states = new WeakMap(); // mounted element -> State
const views = new Map(); // name of a map -> its view, kept while its page is not shown

class State {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.stage = this.find(".stage");
    this.over = this.find(".marks");
    this.raster = new Raster(this.find(".points"));
    this.view = new View();
    this.tool = "move";
    this.only = new Set(); // classes picked in the legend; empty: all
    this.hovered = -1;
    this.sent = 0; // revision of the selection last sent to Python
    this.requested = new Set(); // numbers of the sprite sheets requested
    this.sheets = new Map(); // URL of a sprite sheet -> the image
    this.showsImages = false;
    this.reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
    this.stops = [listenToGestures(this.over, () => this.tool === "lasso", this.gestures())];
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.stage);
    this.stops.push(() => sizes.disconnect());
    for (const button of root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-label", button.title);
      button.onclick = () => this.use(button.dataset.tool);
    }
    this.use("move");
    this.find("[data-tool=images]").setAttribute("aria-pressed", false);
  }

  // New data or a new theme.
  update(data, send) {
    this.send = send;
    const first = !this.data;
    const before = this.data;
    if (data !== this.bytes) {
      this.bytes = data;
      this.data = unpack(data);
      this.startMove(before);
      if (first || before.header.view !== this.data.header.view) this.restoreView();
      this.view.setBox(this.data.header.box);
      this.islands = islands(this);
      this.updateSelection(before);
    }
    this.updateTheme();
    fillLegend(this);
    this.find("[data-tool=images]").hidden = !this.data.header.thumbnails;
    const { alt, note } = this.data.header;
    this.over.setAttribute("aria-label", alt);
    this.find(".note").textContent = note;
    this.find(".note").hidden = !note;
    if (this.hovered >= this.data.flags.length) this.leave();
    else if (!this.find(".card").hidden) this.showCard();
    this.draw();
  }

  // Moves the points to their new layout, from where they are now.
  startMove(before) {
    const { xy, header, flags } = this.data;
    const n = flags.length;
    const { box } = header;
    const unit = Math.max(box[2], box[3]) / 65535; // xy are in the box, 0 to 65535
    this.toX = Float32Array.from({ length: n }, (_, i) => box[0] + xy[2 * i] * unit);
    this.toY = Float32Array.from({ length: n }, (_, i) => box[1] + xy[2 * i + 1] * unit);
    const same = before && before.header.points === header.points;
    const moved = same && before.header.layout !== header.layout;
    if (moved && !this.reducedMotion.matches && !document.hidden) {
      this.fromX = this.x.slice();
      this.fromY = this.y.slice();
      this.began = performance.now();
    } else if (moved || !same || !this.began) {
      this.arrive();
    }
  }

  arrive() {
    this.began = 0;
    this.x = this.toX;
    this.y = this.toY;
    this.grid = new Grid(this.x, this.y, this.data.header.box);
  }

  step(now) {
    const share = Math.min((now - this.began) / MOVE_MS, 1);
    if (share >= 1) return this.arrive();
    const eased = share < 0.5 ? 4 * share ** 3 : 1 - (2 - 2 * share) ** 3 / 2;
    const n = this.toX.length;
    if (this.x === this.toX || this.x.length !== n) [this.x, this.y] = [new Float32Array(n), new Float32Array(n)];
    for (let i = 0; i < n; i++) {
      this.x[i] = this.fromX[i] + (this.toX[i] - this.fromX[i]) * eased;
      this.y[i] = this.fromY[i] + (this.toY[i] - this.fromY[i]) * eased;
    }
    return this.draw();
  }

  // Takes Python's selection, unless Python has not received ours yet.
  updateSelection(before) {
    const { header, flags } = this.data;
    const same = before && before.header.points === header.points;
    if (same && this.chosen && this.sent > header.revision) return;
    this.sent = header.revision;
    this.choose(flags.map((flag) => (flag & SELECTED ? 1 : 0)), false);
  }

  choose(chosen, send = true) {
    this.chosen = chosen;
    this.nChosen = chosen.reduce((sum, on) => sum + on, 0);
    if (send) {
      this.sent = Math.max(Date.now(), this.sent + 1);
      this.send("lasso", { revision: this.sent, bits: bitmask(chosen), n: chosen.length });
    }
    this.draw();
  }

  restoreView() {
    Object.assign(this.view, views.get(this.data.header.view) ?? { touched: false });
  }

  keepView() {
    if (this.data) views.set(this.data.header.view, this.view.keep());
  }

  updateTheme() {
    const style = getComputedStyle(this.stage);
    const color = (name, other) => channels(style.getPropertyValue(name) || other);
    this.background = color("--st-background-color", "#ffffff");
    this.ink = color("--st-text-color", "#222222");
    this.accent = color("--st-primary-color", "#0072b2");
    this.font = style.fontFamily;
    this.dim = packed(mixed(this.background, this.ink, 0.35));
    const { palette, legend } = this.data.header;
    this.colors = legible(palette.map(channels), Boolean(legend.names), this.background, this.ink);
    this.palette = Uint32Array.from(this.colors, packed);
  }

  use(tool) {
    if (tool === "move" || tool === "lasso") {
      this.tool = tool;
      this.over.classList.toggle("lasso", tool === "lasso");
      for (const name of ["move", "lasso"]) {
        this.find(`[data-tool=${name}]`).setAttribute("aria-pressed", name === tool);
      }
    } else if (tool === "images") {
      this.showsImages = !this.showsImages;
      this.find("[data-tool=images]").setAttribute("aria-pressed", this.showsImages);
      this.draw(true);
    } else if (tool === "save") {
      saveImage(this);
    } else {
      this.key({ in: "+", out: "-", reset: "0" }[tool]);
    }
  }

  gestures() {
    return {
      pan: (dx, dy) => this.changeView(() => this.view.pan(dx, dy)),
      zoom: (factor, x, y) => this.changeView(() => this.view.zoomAt(factor, x, y)),
      hover: (x, y) => this.hover(x, y),
      leave: () => this.leave(),
      outline: (path) => { this.outline = path; this.draw(true); },
      pick: (x, y, touched) => this.pick(x, y, touched),
      lasso: (path, adding) => this.lasso(path, adding),
      key: (key) => this.key(key),
    };
  }

  changeView(change) {
    change();
    this.keepView();
    this.draw();
  }

  // Whether the map used the key. While all points are in view, arrow keys are left to the page.
  key(key) {
    const [w, h] = this.view.size;
    const pans = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (pans[key] && this.view.touched) this.changeView(() => this.view.pan(...pans[key]));
    else if (key === "+" || key === "=") this.changeView(() => this.view.zoomAt(1.4, w / 2, h / 2));
    else if (key === "-") this.changeView(() => this.view.zoomAt(1 / 1.4, w / 2, h / 2));
    else if (key === "i") this.use("images");
    else if (key === "0") this.changeView(() => this.view.reset());
    else if (key === "Escape" && this.nChosen) this.choose(new Uint8Array(this.x.length));
    else return false;
    return true;
  }

  pointAt(left, top) {
    const [x, y] = this.view.toData(left, top);
    const grid = this.began ? new Grid(this.x, this.y, this.data.header.box) : this.grid;
    return grid.pick(x, y, PICK_RADIUS / this.view.scale);
  }

  hover(left, top) {
    const point = this.pointAt(left, top);
    if (point === this.hovered) return;
    this.leave();
    this.hovered = point;
    this.over.classList.toggle("pointing", point >= 0);
    if (point >= 0) this.dwell = setTimeout(() => this.showCard(), DWELL_MS);
    this.draw(true);
  }

  leave() {
    clearTimeout(this.dwell);
    this.hovered = -1;
    this.find(".card").hidden = true;
    this.draw(true);
  }

  showCard() {
    if (this.hovered >= 0) fillCard(this, this.hovered);
  }

  pick(left, top, touched) {
    const point = this.pointAt(left, top);
    if (point < 0) return;
    this.hovered = point;
    if (touched) this.showCard();
    this.send("pick", { id: this.data.ids[point] });
    this.draw(true);
  }

  lasso(path, adding) {
    const chosen = inside(path.map(([x, y]) => this.view.toData(x, y)), this.x, this.y);
    if (adding) this.chosen.forEach((on, i) => { if (on) chosen[i] = 1; });
    this.choose(chosen);
  }

  draw(marksOnly = false) {
    this.stale = this.stale || !marksOnly;
    if (this.frame || !this.data) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      if (this.began) this.step(now);
      paint(this, this.stale);
      this.stale = Boolean(this.began);
      if (this.began) this.draw();
    });
  }

  close() {
    this.keepView();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.dwell);
    this.stops.forEach((stop) => stop());
  }
}

export default function map({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".map");
  if (!root || !data) return undefined;
  if (!states.has(root)) states.set(root, new State(root));
  const state = states.get(root);
  state.update(data, setTriggerValue);
  return () => {
    state.close();
    states.delete(root);
  };
}
