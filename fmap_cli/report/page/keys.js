// Everything can be reached with the keyboard.

const KEYS = [
  ["← →", "channel before, after, in the order of the tiles", ["ArrowLeft", "ArrowRight"]],
  ["↑ ↓", "layer before, after", ["ArrowUp", "ArrowDown"]],
  ["Home End", "first and last tile", ["Home", "End"]],
  ["m", "the channel's strongest unit", ["m"]],
  ["p", "pin the chosen unit, or let it go", ["p"]],
  ["+ - 0", "zoom in, out, whole picture", ["+", "-", "0"]],
  ["s", "sort tiles by the next number", ["s"]],
  ["c", "colours span the channel or the layer", ["c"]],
  ["t", "dark or light", ["t"]],
  ["?", "this list", ["?"]],
];

function listenToKeys(actions) {
  el("keys").querySelector("dl").replaceChildren(...KEYS.flatMap(([keys, words]) => [
    make("dt", {}, ...keys.split(" ").flatMap((key, at) => [...(at ? [" "] : []), make("kbd", { text: key })])), make("dd", { text: words }),
  ]), make("dt", {}, "in a picture"), make("dd", { text: "arrows move from unit to unit, Enter pins one" }));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !event.target.closest) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    const action = actions[event.key];
    if (!action) return;
    if (event.key.startsWith("Arrow") && event.target.closest(".scroll, .strip")) return; // these scroll
    event.preventDefault();
    action();
  });
}
