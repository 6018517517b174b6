// @ts-check
// Elements. All texts are inserted as text: names of classes are chosen by others.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(kind, className = "", text = "") {
  const node = document.createElement(kind);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

/**
 * A button, with the key that does the same.
 * @param {string} text
 * @param {() => void} click
 * @param {{key?: string, className?: string, title?: string}} [more]
 */
export function button(text, click, { key = "", className = "", title = "" } = {}) {
  const node = element("button", className);
  node.type = "button";
  if (key) {
    const cap = element("kbd", "", key);
    cap.setAttribute("aria-hidden", "true");
    node.append(cap);
    node.setAttribute("aria-keyshortcuts", key.length === 1 ? key : "Enter");
  }
  if (text) node.append(element("span", "", text));
  if (title) {
    node.title = title;
    if (!text) node.setAttribute("aria-label", title);
  }
  node.addEventListener("click", click);
  return node;
}

/**
 * Changes a text only where it differs, which saves a new layout.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A number of things.
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
}
