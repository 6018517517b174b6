// One View per mounted element: loads the player's script and a recording, whole or as it grows.

const RETRY = 5; // seconds after a request that failed
const FINAL = [400, 404, 422]; // answers that another request will not change
const SETTLE = 350; // milliseconds between a move and its report
const views = new WeakMap(); // mounted element -> View

class View {
  constructor(root) {
    this.host = root.querySelector(".player");
    this.root = root;
    this.closed = false;
    this.sent = []; // places that the player reported and the page has not shown yet, as JSON
    this.turn = 0; // of the requests: those of an earlier source are given up
    this.onKey = (event) => {
      // keys that no widget of the page takes are the player's
      if (event.composedPath()[0] === document.body) this.player?.key?.(event);
    };
    document.addEventListener("keydown", this.onKey);
  }

  // New data or a new theme.
  update(data, send) {
    this.data = data;
    this.send = send;
    this.host.style.setProperty("--height", data.height);
    const source = JSON.stringify([data.source, data.by_hand]);
    if (source !== this.source) {
      this.source = source;
      this.id = "";
      this.start();
    } else if (data.live && !this.asking) {
      this.start(); // a run that had ended trains again
    }
    this.moveTo(data.start);
    this.updateTheme();
  }

  // Where the page wants the player to be, unless that is an answer to what the player reported.
  moveTo(start) {
    const place = JSON.stringify(start);
    const answered = this.sent.indexOf(place);
    if (place !== this.place && answered < 0) this.player?.go?.(start);
    this.place = place;
    this.sent.splice(0, answered + 1);
  }

  moved(place) {
    if (!this.data.moves) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const text = JSON.stringify({ epoch: place.epoch, sample: place.sample });
      if (this.closed || text === (this.sent.at(-1) ?? this.place)) return;
      this.sent.push(text);
      this.send("move", place);
    }, SETTLE);
  }

  async start() {
    const turn = ++this.turn;
    this.asking = true;
    try {
      if (!this.host.firstChild) this.say("Reading the recording …");
      const [script, bytes] = await Promise.all([
        import(new URL(this.data.script, location.origin).href),
        this.data.file ? load(this.data.file) : null,
      ]);
      if (this.gone(turn)) return;
      this.script = script;
      addStyle(this.root, script.style);
      const adopted = this.adopt();
      if (bytes && !adopted) this.show(bytes, { autoplay: this.data.autoplay });
      else if (!bytes) await this.follow(turn);
    } catch (error) {
      if (!this.gone(turn)) this.say(String(error.message ?? error));
    }
    if (!this.gone(turn)) this.asking = false;
  }

  // Asks for the bytes that follow until nothing more will come.
  async follow(turn) {
    for (;;) {
      let wait = RETRY;
      try {
        wait = await this.next(turn);
      } catch (error) {
        if (this.gone(turn)) return;
        if (!this.id) this.say(String(error.message ?? error));
      }
      if (this.gone(turn) || wait === null) return;
      await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
      if (this.gone(turn)) return;
    }
  }

  // Seconds until the next request; null: nothing more will come.
  async next(turn) {
    const query = this.id ? `?id=${this.id}&at=${this.size}` : "";
    const headers = { "X-Player-Pass": this.data.pass };
    const response = await fetch(this.data.runs + query, { headers });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (this.gone(turn)) return null;
    const wait = response.headers.get("X-Recording-Wait");
    if (response.status !== 200) {
      const final = FINAL.includes(response.status);
      // an earlier recording stays until there is something to show instead
      if (!this.id && (final || !this.player)) this.say(new TextDecoder().decode(bytes));
      if (final) return null;
      return wait === null ? RETRY : Number(wait);
    }
    const id = response.headers.get("X-Recording");
    if (id === this.id) {
      this.size += bytes.length;
      if (bytes.length) await this.player.append(bytes);
    } else if (!this.data.by_hand || !this.id) {
      const live = wait !== null;
      const before = this.id ? this.player : undefined; // the same runs, with other maps
      [this.id, this.size] = [id, bytes.length];
      const autoplay = this.data.autoplay && !live && (!before || before.playing);
      this.show(bytes, { live, autoplay, ...(before && { start: before.place() }) });
    }
    const next = wait ?? response.headers.get("X-Recording-Later");
    return next === null || this.data.by_hand ? null : Number(next);
  }

  show(bytes, options) {
    this.player?.destroy();
    if (this.data.by_hand) {
      const onTrain = (edits) => this.send("train", edits);
      this.player = this.script.label(this.host, bytes, { theme: this.theme, onTrain });
      return;
    }
    this.player = this.script.mount(this.host, bytes, { ...this.options(), ...options });
  }

  options() {
    return {
      theme: this.theme,
      start: this.data.start,
      onMove: (place) => this.moved(place),
      address: false,
      keys: false,
      onPick: (_, sample) => this.data.picks && this.send("pick", sample),
    };
  }

  // Takes over the player that was shown before the page had loaded (app/first_picture.html), if it
  // has this recording, and plays it; whether there is one.
  adopt() {
    const picture = document.getElementById("first-picture");
    if (!picture) return false;
    const { player, scrollTop } = picture;
    picture.player = null;
    picture.remove();
    if (!player || picture.dataset.recording !== this.data.file) {
      player?.destroy();
      return false;
    }
    this.player?.destroy();
    this.player = player;
    Object.assign(player.options, this.options());
    this.host.replaceChildren(player.root);
    const main = this.host.getRootNode().host.closest("[data-testid=stMain]");
    if (main) main.scrollTop = scrollTop;
    player.ready.then(() => this.data.autoplay && !player.calm.matches && player.toggle(true));
    return true;
  }

  say(text) {
    this.player?.destroy();
    this.player = undefined;
    const message = document.createElement("p");
    message.className = "message";
    message.setAttribute("role", "status");
    message.textContent = text;
    this.host.replaceChildren(message);
  }

  updateTheme() {
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = getComputedStyle(this.host).getPropertyValue("--st-background-color").trim();
    const [r, g, b] = probe.fillStyle.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
    this.theme = 0.3 * r + 0.6 * g + 0.1 * b < 128 ? "dark" : "light";
    if (!this.player || this.player.root.dataset.theme === this.theme) return;
    this.player.root.dataset.theme = this.theme;
    this.player.fit();
  }

  gone(turn) {
    return this.closed || turn !== this.turn;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("keydown", this.onKey);
    this.player?.destroy();
  }
}

async function load(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`The recording cannot be loaded: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function addStyle(root, text) {
  const shadow = root.getRootNode();
  if (shadow.querySelector?.("style[data-player]")) return;
  const style = document.createElement("style");
  style.dataset.player = "";
  style.textContent = text;
  (shadow === document ? document.head : shadow).prepend(style);
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!views.has(parentElement)) views.set(parentElement, new View(parentElement));
  const view = views.get(parentElement);
  view.update(data, setTriggerValue);
  return () => {
    view.close();
    views.delete(parentElement);
  };
}
