// Thumbnails on the points in view, as many as fit without overlap.

const IMAGE = 30; // CSS pixels
const FRAME = 2;

// The points with an image and their places: each point that is no closer than an image to an
// earlier one, and not hidden by selection or legend.
function pointsWithImage({ view, x, y, data, only, chosen, nChosen }) {
  const [w, h] = view.size;
  const cell = IMAGE + 2 * FRAME + 1;
  const columns = Math.ceil(w / cell);
  const taken = new Map(); // cell of a grid -> the place of its image
  const found = [];
  const { quiet = -1 } = data.header.legend;
  for (let i = 0; i < data.flags.length; i++) {
    const [left, top] = view.toScreen(x[i], y[i]);
    if (left < 0 || top < 0 || left >= w || top >= h || (nChosen && !chosen[i])) continue;
    if (only.size ? !only.has(data.color[i]) : data.color[i] === quiet) continue;
    const [column, row] = [Math.floor(left / cell), Math.floor(top / cell)];
    const isFree = [-1, 0, 1].every((down) => [-1, 0, 1].every((right) => {
      const other = taken.get((row + down) * (columns + 2) + column + right);
      return !other || Math.abs(other[0] - left) >= cell || Math.abs(other[1] - top) >= cell;
    }));
    if (!isFree) continue;
    taken.set(row * (columns + 2) + column, [left, top]);
    found.push([i, left, top]);
  }
  return found;
}

// Each image with a frame in the color of its point.
function paintImages(pen, state) {
  const { thumbnails } = state.data.header;
  if (!state.showsImages || !thumbnails) return;
  const smooth = thumbnails.side >= 48;
  let missing = -1;
  for (const [i, left, top] of pointsWithImage(state)) {
    const number = Math.floor(i / thumbnails.per);
    const sheet = sheetOf(state, number);
    if (!sheet) {
      if (!thumbnails.urls[number] && missing < 0) missing = number;
      continue;
    }
    const side = sheet.naturalWidth / thumbnails.columns;
    const within = i % thumbnails.per;
    const [column, row] = [within % thumbnails.columns, Math.floor(within / thumbnails.columns)];
    const half = IMAGE / 2 + FRAME;
    pen.fillStyle = css(state.colors[state.data.color[i]]);
    pen.fillRect(left - half, top - half, 2 * half, 2 * half);
    pen.imageSmoothingEnabled = smooth;
    pen.drawImage(
      sheet, column * side, row * side, side, side, left - IMAGE / 2, top - IMAGE / 2, IMAGE, IMAGE,
    );
  }
  if (missing >= 0 && !state.requested.has(missing)) {
    state.requested.add(missing); // one at a time: of several messages only the last would arrive
    state.send("thumbnails", missing);
  }
}

// A loaded sprite sheet; undefined, and later a new drawing, while it loads.
function sheetOf(state, number) {
  const url = state.data.header.thumbnails.urls[number];
  if (!url) return undefined;
  const loaded = state.sheets.get(url);
  if (loaded) return loaded.complete && loaded.naturalWidth ? loaded : undefined;
  const image = new Image();
  image.onload = () => state.draw(true);
  image.src = url;
  state.sheets.set(url, image);
  return undefined;
}
