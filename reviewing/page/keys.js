// One key for each act.

/** What has keys of its own: typing, choosing in a list, moving a slider. */
const OWN = { letters: "select, textarea, input:not([type=checkbox], [type=range])", arrows: "select, textarea, input:not([type=checkbox])" };

/**
 * Listen for keys wherever they are pressed, before others do.
 *
 * @param {Record<string, (event: KeyboardEvent) => void>} acts by `KeyboardEvent.key`, letters in
 *   lower case.
 * @param {() => boolean} wanted says whether keys count at the moment.
 */
export function listenToKeys(acts, wanted) {
  const listen = (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const arrow = key.startsWith("Arrow");
    if (!acts[key] || event.metaKey || event.altKey || (event.ctrlKey && !arrow)) return;
    if (!wanted() || document.querySelector("dialog[open]")) return;
    if (event.target.matches?.(arrow ? OWN.arrows : OWN.letters)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !arrow) return; // A key that is held decides once.
    acts[key](event);
  };
  addEventListener("keydown", listen, { capture: true });
}

/** A letter for each name: the first of its own that no name before it has. */
export function lettersOf(names) {
  const letters = new Map();
  for (const name of names) {
    const taken = new Set(letters.values());
    letters.set(name, [...name.toLowerCase()].find((each) => /[a-z]/.test(each) && !taken.has(each)));
  }
  return letters;
}
