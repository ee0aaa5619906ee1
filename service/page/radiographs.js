// The radiographs of this visit: those that wait, those at work, and their answers.

import { localize } from "./service.js";

/** As many are sent at a time; the service has a queue of its own. */
const AT_ONCE = 2;

/**
 * One file and what became of it.
 *
 * `state.name` is `waiting`, `sending`, `working`, `busy`, `done`, `refused` or `locked` (a key is
 * asked for); a `done` one has its `answer` and `picture`, a `refused` one its `problem`.
 */
class Radiograph {
  state = { name: "waiting" };
  answer = null;
  picture = null;
  problem = null;
  abort = new AbortController();

  constructor(file) {
    this.file = file;
  }
}

/** All of them, in the order in which they came. */
export class Radiographs {
  all = [];
  #working = 0;

  /** @param {(radiograph: Radiograph) => void} changed is told of each change of a state. */
  constructor(changed) {
    this.changed = changed;
  }

  /** Take files as radiographs that wait; `welcome` is told of each before any is sent. */
  add(files, welcome) {
    const added = Array.from(files, (file) => new Radiograph(file));
    this.all.push(...added);
    added.forEach(welcome);
    this.#work();
    return added;
  }

  /** Forget one, wherever it stands. */
  remove(radiograph) {
    radiograph.abort.abort();
    this.all = this.all.filter((each) => each !== radiograph);
  }

  /** Try one again. */
  again(radiograph) {
    radiograph.problem = null;
    this.#set(radiograph, { name: "waiting" });
    this.#work();
  }

  /** Try those again that a key was asked for. */
  unlock() {
    this.all.filter(({ state }) => state.name === "locked").forEach((each) => this.again(each));
  }

  #set(radiograph, state) {
    if (!this.all.includes(radiograph)) return; // It was removed while it was at work.
    radiograph.state = state;
    this.changed(radiograph);
  }

  #work() {
    while (this.#working < AT_ONCE) {
      const next = this.all.find(({ state }) => state.name === "waiting");
      if (!next) return;
      this.#working += 1;
      this.#set(next, { name: "sending", share: 0 });
      this.#localize(next).finally(() => {
        this.#working -= 1;
        this.#work();
      });
    }
  }

  async #localize(radiograph) {
    const tell = (state) => this.#set(radiograph, state);
    try {
      const answer = await localize(radiograph.file, tell, radiograph.abort.signal);
      radiograph.picture = await toImage(answer.radiograph.picture);
      // The picture is drawn; the answer that can be saved does without a copy of the radiograph.
      delete answer.radiograph.picture;
      radiograph.answer = answer;
      tell({ name: "done" });
    } catch (problem) {
      if (problem.name === "AbortError") return;
      radiograph.problem = problem;
      tell({ name: problem.status === 401 ? "locked" : "refused" });
    }
  }
}

async function toImage({ data }) {
  const image = new Image();
  image.src = `data:image/png;base64,${data}`;
  await image.decode();
  return image;
}
