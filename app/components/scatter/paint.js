// Draws a State: the points, and the marks on top of them.

// Radius in CSS pixels and opacity of a point: smaller and fainter the denser the points are.
function sizeOf({ view, toX }) {
  const [w, h] = view.size;
  const near = Math.max(view.zoom, 1);
  const radius = Math.min(Math.max(0.22 * Math.sqrt((w * h) / toX.length), 1.4), 4);
  const cover = (toX.length * Math.PI * radius ** 2) / (0.35 * w * h) / near;
  return [radius * near ** 0.35, Math.min(Math.max(1 - 0.2 * cover, 0.4), 0.9)];
}

function paint(state, points) {
  const { clientWidth: w, clientHeight: h } = state.stage;
  if (!w || !h) return;
  const ratio = window.devicePixelRatio || 1;
  const resized = w !== state.view.size[0] || h !== state.view.size[1] || ratio !== state.ratio;
  state.view.size = [w, h];
  state.ratio = ratio;
  if (points || resized) paintPoints(state);
  paintMarks(state, resized);
  const description = `Zoom ${state.view.zoom.toFixed(2)}, ${state.nChosen} points selected`;
  state.over.setAttribute("aria-description", description);
  state.over.dataset.scale = state.view.scale.toPrecision(6); // CSS pixels per unit of the layout
}

// Gray points first, wrong labels last, so that those are on top.
function paintPoints(state) {
  const { raster, view, ratio, x, y, palette, dim, only, chosen } = state;
  const { flags, color } = state.data;
  const [w, h] = view.size;
  const [radius, alpha] = sizeOf(state);
  raster.begin(Math.round(w * ratio), Math.round(h * ratio), packed(state.background));
  const scale = view.scale * ratio;
  const left = (w / 2) * ratio - view.x * scale;
  const top = (h / 2) * ratio - view.y * scale;
  const some = state.nChosen > 0;
  const { quiet = -1 } = state.data.header.legend; // row of the palette that is background
  for (let layer = 0; layer < 3; layer++) {
    for (let i = 0; i < flags.length; i++) {
      const shown = (!some || chosen[i]) && (only.size ? only.has(color[i]) : color[i] !== quiet);
      const wrong = flags[i] & WRONG;
      if (layer !== (shown ? 1 + wrong : 0)) continue;
      raster.mark(
        x[i] * scale + left, y[i] * scale + top, wrong ? CROSS : DISC,
        (wrong ? 1.3 : 1) * (shown && quiet >= 0 ? 1.4 : 1) * radius * ratio, shown ? palette[color[i]] : dim,
        shown ? Math.min(alpha + 0.2 * wrong, 1) : 0.55 * alpha,
      );
    }
  }
  raster.end();
}

function paintMarks(state, resized) {
  const { over, view, ratio, data, x, y } = state;
  const [w, h] = view.size;
  if (resized || !over.drawn) {
    over.width = Math.round(w * ratio);
    over.height = Math.round(h * ratio);
    over.drawn = true;
  }
  const pen = over.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, h);
  const { sample, links } = data.header;
  const [radius] = sizeOf(state);
  const spot = (i) => view.toScreen(x[i], y[i]);
  pen.lineCap = "round";
  paintImages(pen, state);
  for (const [i, weight] of sample < 0 ? [] : links) {
    const [from, to] = [spot(sample), spot(i)];
    line(pen, from, to, 1.5 + 7 * weight, css(state.background));
    line(pen, from, to, 0.75 + 6 * weight, css(state.ink));
    ring(pen, to, radius + 3, 1.5, css(state.ink));
  }
  if (sample >= 0) {
    ring(pen, spot(sample), radius + 5, 5.5, css(state.background));
    ring(pen, spot(sample), radius + 5, 3, css(state.accent));
  }
  if (state.hovered >= 0 && state.hovered !== sample) {
    ring(pen, spot(state.hovered), radius + 4, 4, css(state.background));
    ring(pen, spot(state.hovered), radius + 4, 2, css(state.ink));
  }
  if (!state.began) paintNames(pen, state);
  if (state.outline) paintOutline(pen, state);
}

// Where most points of each class are: the center of those in and next to the fullest cell of a
// grid. Colors alone do not tell classes apart, least of all to people with color blindness.
function islands({ toX, toY, data }) {
  const { box, legend } = data.header;
  const n = legend.names && !(legend.quiet >= 0) ? legend.names.length : 0;
  const cells = 24;
  const counts = new Uint32Array(n * cells * cells);
  const column = (i) => Math.min(Math.floor(((toX[i] - box[0]) / box[2]) * cells), cells - 1);
  const row = (i) => Math.min(Math.floor(((toY[i] - box[1]) / box[3]) * cells), cells - 1);
  const { color } = data;
  if (n) color.forEach((c, i) => { counts[(c * cells + row(i)) * cells + column(i)] += 1; });
  const found = Array.from({ length: n }, (_, c) => {
    const own = counts.subarray(c * cells * cells, (c + 1) * cells * cells);
    const at = own.reduce((best, count, i) => (count > own[best] ? i : best), 0);
    return { c, x: 0, y: 0, n: 0, column: at % cells, row: Math.floor(at / cells) };
  });
  if (n) color.forEach((c, i) => {
    const island = found[c];
    if (Math.abs(column(i) - island.column) > 1 || Math.abs(row(i) - island.row) > 1) return;
    island.x += toX[i];
    island.y += toY[i];
    island.n += 1;
  });
  return found.filter((island) => island.n).sort((a, b) => b.n - a.n)
    .map((island) => ({ ...island, x: island.x / island.n, y: island.y / island.n }));
}

// The names of classes on their islands, the largest first; none over another.
function paintNames(pen, { islands: found, view, data, only, background, ink, font }) {
  const { names } = data.header.legend;
  const taken = [];
  pen.font = `600 15px ${font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  for (const { c, x, y } of found) {
    if (only.size && !only.has(c)) continue;
    const name = names[c].length > 16 ? `${names[c].slice(0, 15)}…` : names[c];
    const [left, top] = view.toScreen(x, y);
    const half = pen.measureText(name).width / 2 + 4;
    if (taken.some(([l, t, h]) => Math.abs(l - left) < h + half && Math.abs(t - top) < 18)) continue;
    taken.push([left, top, half]);
    pen.lineWidth = 5;
    pen.strokeStyle = css(background);
    pen.strokeText(name, left, top);
    pen.fillStyle = css(ink);
    pen.fillText(name, left, top);
  }
}

function paintOutline(pen, { outline, accent, ink }) {
  pen.beginPath();
  outline.forEach(([left, top]) => pen.lineTo(left, top));
  pen.closePath();
  pen.fillStyle = `rgba(${accent}, 0.1)`;
  pen.fill();
  pen.lineWidth = 1.5;
  pen.setLineDash([5, 4]);
  pen.strokeStyle = css(ink);
  pen.stroke();
  pen.setLineDash([]);
}

function line(pen, from, to, width, color) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.lineWidth = width;
  pen.strokeStyle = color;
  pen.stroke();
}

function ring(pen, [left, top], radius, width, color) {
  pen.beginPath();
  pen.arc(left, top, radius, 0, 2 * Math.PI);
  pen.lineWidth = width;
  pen.strokeStyle = color;
  pen.stroke();
}

const mixed = (a, b, share) => a.map((v, i) => Math.round(v * (1 - share) + b[i] * share));
const light = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

// Colors with enough contrast to the page: classes too close to the background are mixed with the
// text color; a color scale omits the end that is as dark or as light as the page.
function legible(colors, areClasses, background, ink) {
  if (areClasses) {
    const near = (c) => Math.abs(light(c) - light(background)) < 0.13;
    return colors.map((c) => (near(c) ? mixed(c, ink, 0.5) : c));
  }
  const last = colors.length - 1;
  const [from, to] = light(background) < 0.5 ? [0.22, 1] : [0, 0.95];
  return colors.map((_, i) => colors[Math.round((from + ((to - from) * i) / last) * last)]);
}
