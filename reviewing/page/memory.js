// What the browser keeps for the next visit: a name, and what was chosen.

/**
 * Remember in "localStorage", or in "sessionStorage" until the page is closed. A browser may forbid
 * both; what is remembered then lasts no longer than the page.
 */
export function remember(storage, name, value) {
  try {
    window[storage].setItem(name, value);
  } catch {}
}

/** What was remembered, or null. */
export function recall(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}
