// The review's server, as the page asks it.

const ROOT = new URL("../", import.meta.url);

/** Radiographs that are kept drawn: the one that is shown, and those around it. */
const KEPT = 6;

/** What the server, or the way to it, has against a request. */
export class Problem extends Error {
  constructor(title, detail) {
    super(title);
    this.detail = detail;
  }
}

const UNREACHABLE = new Problem(
  "The review’s server cannot be reached",
  "Is `cxr-localizer review` still running? Start it again, and decide again; nothing else is lost.",
);

export const about = () => ask("about");

/** The next boxes of a walk and its progress. */
export function nextBoxes(reviewer, walk, disease) {
  const question = new URLSearchParams({ reviewer, walk, ...(disease && { disease }) });
  return ask(`boxes?${question}`);
}

/** Append a decision: `{action, edges, new_disease}`. */
export async function decide(box, reviewer, decision) {
  try {
    await send(`boxes/${box.id}/decisions`, { reviewer, ...decision });
  } catch (problem) {
    throw new Problem("Not saved", `${problem.message}. ${problem.detail}`);
  }
}

export const skip = (box, reviewer) => send(`boxes/${box.id}/skip`, { reviewer });

/** Take back the reviewer's last decision; the box that it was about, or null. */
export const undo = async (reviewer) => (await send("undo", { reviewer })).box;

export const agreement = async () => (await ask("agreement")).pairs;

const pictures = new Map();

/** A box's radiograph as an image that is ready to be drawn; rejects with a `Problem`. */
export function pictureOf({ id, radiograph: { path } }) {
  if (!pictures.has(path)) {
    const picture = fetchPicture(id);
    pictures.set(path, picture);
    picture.catch(() => pictures.delete(path)); // The next time it may be there.
    if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(path);
}

async function fetchPicture(id) {
  const response = await request(`boxes/${id}/picture`);
  const image = new Image();
  image.src = URL.createObjectURL(await response.blob());
  await image.decode();
  URL.revokeObjectURL(image.src);
  return image;
}

const ask = async (path) => (await request(path)).json();

async function send(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  return response.status === 204 ? null : response.json();
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, ROOT), options);
  } catch {
    throw UNREACHABLE;
  }
  if (response.ok) return response;
  const { title, detail } = await response.json().catch(() => ({}));
  throw new Problem(title ?? `The server answered ${response.status}`, detail ?? "It gave no reason.");
}
