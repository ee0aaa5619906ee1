// The service, as the page asks it.

const ROOT = new URL("../", import.meta.url);
const QUESTION = "localize?heatmaps=values&boxes=all&steps=true&picture=png";

/** How many seconds a busy service is asked again before it counts as a failure. */
const PATIENCE = 120;
/** The pause, in seconds, where a busy service names none. */
const PAUSE = 1;

let key = "";

/** Send an access key along from here on; it lives in this module alone. */
export function useKey(value) {
  key = value.trim();
}

/** What the service, or the way to it, has against a request: RFC 9457's members. */
export class Problem extends Error {
  constructor(status, { type = "", title, detail, evidence = {} }, retryAfter = null) {
    super(title);
    Object.assign(this, { status, slug: type.split("/").pop(), title, detail, evidence, retryAfter });
  }

  /** Whether the same file may do better another time. */
  get passing() {
    return [0, 408, 429].includes(this.status) || this.status >= 500;
  }
}

/** Name and version of the model that serves now. */
export async function askModel() {
  const response = await fetch(new URL("model", ROOT), { headers: credentials() });
  if (!response.ok) throw toProblem(response.status, await response.text(), response.headers);
  return response.json();
}

/**
 * Localize a file, and ask again where the service is busy, when it says so.
 *
 * @param {File} file
 * @param {(state: {name: string, share?: number, seconds?: number}) => void} tell
 *   is told `sending` with the share that is sent, `working`, and `busy` with the pause.
 * @param {AbortSignal} signal gives up.
 * @returns {Promise<object>} the service's answer; rejects with a `Problem`.
 */
export async function localize(file, tell, signal) {
  const patientUntil = performance.now() + PATIENCE * 1000;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await send(file, tell, signal);
    } catch (problem) {
      // What was given up is no `Problem`, and is not sent again.
      const pause = problem instanceof Problem ? problem.retryAfter : null;
      if (pause === null || performance.now() + pause * 1000 > patientUntil) throw problem;
      tell({ name: "busy", seconds: pause });
      // Not all of those that were turned away together come back together.
      await wait(pause + Math.random() / 2, signal);
    }
  }
}

/** By XMLHttpRequest: `fetch` does not tell how much is sent. */
function send(file, tell, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL(QUESTION, ROOT));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(credentials())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => tell({ name: "sending", share: loaded / total });
    request.upload.onload = () => tell({ name: "working" });
    request.onload = () => {
      if (request.status !== 200) {
        reject(toProblem(request.status, request.responseText, headersOf(request)));
        return;
      }
      const answer = parsed(request.responseText);
      if (answer?.radiograph?.picture) resolve(answer);
      else reject(new Problem(0, UNREADABLE));
    };
    request.onerror = () => reject(new Problem(0, UNREACHABLE));
    request.onabort = () => reject(new DOMException("given up", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

const UNREACHABLE = {
  title: "The service cannot be reached",
  detail: "The connection broke off, or the file cannot be read any more. Try again in a moment.",
};

const UNREADABLE = {
  title: "This is no answer of the service",
  detail: "Something on the way answered in its place, a page to sign in perhaps. Load this page anew, then try again.",
};

/** What a text says in JSON; `null` where it is none. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const headersOf = (request) => ({ get: (name) => request.getResponseHeader(name) });

const credentials = () => (key ? { Authorization: `Bearer ${key}` } : {});

function toProblem(status, text, headers) {
  const unknown = { title: `The service answered ${status}`, detail: "It gave no reason that this page understands." };
  const told = (headers.get("Content-Type") ?? "").startsWith("application/problem+json");
  const document = (told && parsed(text)) || unknown;
  const busy = status === 503 || status === 429;
  return new Problem(status, document, busy ? pauseOf(headers) : null);
}

/** The seconds of `Retry-After`, which may be a date instead. */
function pauseOf(headers) {
  const value = headers.get("Retry-After") ?? "";
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : PAUSE;
}

function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
  });
}
