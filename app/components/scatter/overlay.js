// The legend, the card of a point, and the saved image. Names of classes and samples, which users
// choose, are inserted as text, never as HTML.

const CROSS_MARK = '<svg viewBox="0 0 24 24"><path d="M4 4l16 16M20 4L4 20"/></svg>';

function element(kind, className = "", text = "") {
  const node = document.createElement(kind);
  node.className = className;
  node.textContent = text;
  return node;
}

function fillLegend(state) {
  const { legend } = state.data.header;
  const contents = JSON.stringify([legend, state.colors, [...state.only]]);
  if (contents === state.legendContents) return;
  state.legendContents = contents;
  const box = state.find(".legend");
  const parts = [element("span", "title", legend.title)];
  if (legend.names) {
    parts.push(...legend.names.map((name, i) => legendButton(state, name, i)));
  } else {
    const bar = element("span", "bar");
    bar.style.background = `linear-gradient(90deg, ${state.colors.map(css).join(", ")})`;
    parts.push(element("span", "", legend.low), bar, element("span", "", legend.high));
  }
  if (legend.cross) {
    const shape = element("span", "shape");
    shape.innerHTML = CROSS_MARK;
    shape.append(legend.cross);
    parts.push(shape);
  }
  box.replaceChildren(...parts);
}

// A click shows only this class, further clicks add others; without any, all are shown.
function legendButton(state, name, i) {
  const button = element("button");
  button.type = "button";
  button.title = `Show only ${name}`;
  button.setAttribute("aria-pressed", !state.only.size || state.only.has(i));
  const dot = element("i");
  dot.style.background = css(state.colors[i]);
  button.append(dot, name);
  button.onclick = () => {
    if (!state.only.delete(i)) state.only.add(i);
    fillLegend(state);
    state.find(".legend").querySelectorAll("button")[i].focus();
    state.draw();
  };
  return button;
}

function fillCard(state, i) {
  const card = state.find(".card");
  fillThumb(state, i);
  const { header, clean, loss } = state.data;
  const lines = [["sample", header.sample_names?.[i] ?? String(state.data.ids[i])]];
  const right = state.data.true ? state.data.true[i] : -1;
  for (const name of ["given", "true", "corrected"]) {
    if (!state.data[name]) continue;
    const label = state.data[name][i];
    lines.push([name, header.classes[label] ?? String(label), right >= 0 && label !== right]);
  }
  lines.push(["P(clean)", clean[i].toFixed(2)], ["loss", loss[i].toPrecision(3)]);
  const list = state.find("dl");
  list.replaceChildren();
  for (const [term, text, wrong] of lines) {
    list.append(element("dt", "", term), element("dd", wrong ? "wrong" : "", text));
  }
  card.hidden = false;
  const [left, top] = state.view.toScreen(state.x[i], state.y[i]);
  const [w, h] = state.view.size;
  const [cw, ch] = [card.offsetWidth, card.offsetHeight];
  const cardLeft = left + 16 + cw < w - 48 ? left + 16 : left - 16 - cw;
  card.style.left = `${Math.max(cardLeft, 4)}px`;
  card.style.top = `${Math.min(Math.max(top - ch / 2, 4), Math.max(h - ch - 4, 4))}px`;
}

// Thumbnails are sprite sheets in the order of the points; a missing one is requested from Python.
function fillThumb(state, i) {
  const { thumbnails } = state.data.header;
  const thumb = state.find(".thumb");
  thumb.hidden = !thumbnails;
  if (!thumbnails) return;
  const number = Math.floor(i / thumbnails.per);
  const url = thumbnails.urls[number];
  thumb.style.backgroundImage = url ? `url("${url}")` : "none";
  if (!url) {
    if (!state.requested.has(number)) state.send("thumbnails", number);
    state.requested.add(number);
    return;
  }
  const within = i % thumbnails.per;
  const size = thumbnails.columns * THUMB;
  thumb.style.backgroundSize = `${size}px auto`;
  const [column, row] = [within % thumbnails.columns, Math.floor(within / thumbnails.columns)];
  thumb.style.backgroundPosition = `${-column * THUMB}px ${-row * THUMB}px`;
  thumb.classList.toggle("smooth", thumbnails.side >= 48);
}

// Saves the points in view, their marks and a line of legend as a PNG.
function saveImage(state) {
  const { legend, note, file } = state.data.header;
  const { ratio, over } = state;
  const image = document.createElement("canvas");
  const foot = 34 * ratio;
  [image.width, image.height] = [over.width, over.height + foot];
  const pen = image.getContext("2d");
  pen.fillStyle = css(state.background);
  pen.fillRect(0, 0, image.width, image.height);
  pen.drawImage(state.raster.canvas, 0, 0);
  pen.drawImage(over, 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, over.height);
  pen.font = `13px ${state.font}`;
  let left = 10;
  const write = (text, color) => {
    pen.fillStyle = css(color);
    pen.fillText(text, left, 20);
    left += pen.measureText(text).width + 8;
  };
  write(legend.title, state.ink);
  if (legend.names) {
    legend.names.forEach((name, i) => write(`● ${name}`, state.colors[i]));
  } else {
    write(legend.low, state.ink);
    state.colors.forEach((color) => {
      pen.fillStyle = css(color);
      pen.fillRect(left, 10, 1, 11);
      left += 0.8;
    });
    left += 8;
    write(legend.high, state.ink);
  }
  if (legend.cross) write(`✕ ${legend.cross}`, state.ink);
  pen.fillStyle = css(state.ink);
  pen.fillText(note, 10, 18 - over.height / ratio);
  image.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${file}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}
