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

const BROKEN_OFF = new Problem("The answer broke off", "The connection to the review’s server ended too early.");

export const about = () => ask("about");

/** The next boxes of a walk and its progress. */
export function nextBoxes(reviewer, walk, disease) {
  const question = new URLSearchParams({ reviewer, walk, ...(disease && { disease }) });
  return ask(`boxes?${question}`);
}

/** Append a decision: `{action, edges, new_disease}`. */
export async function decide(box, reviewer, decision) {
  try {
    await post(`boxes/${box.id}/decisions`, { reviewer, ...decision });
  } catch (problem) {
    throw new Problem("Not saved", `${problem.message}. ${problem.detail}`);
  }
}

export const skip = (box, reviewer) => post(`boxes/${box.id}/skip`, { reviewer });

/** Take back the reviewer's last decision; the box that it was about, or null. */
export const undo = async (reviewer) => (await bodyOf(await post("undo", { reviewer }))).box;

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
  try {
    image.src = URL.createObjectURL(await response.blob());
    await image.decode();
  } catch {
    throw new Problem("The radiograph did not arrive whole", BROKEN_OFF.detail);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return image;
}

const ask = async (path) => bodyOf(await request(path));

async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    throw BROKEN_OFF;
  }
}

/** Once it is answered, it is done, whether the answer arrives whole or not. */
function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
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
