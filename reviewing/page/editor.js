// The box that is judged: moved and resized by mouse, touch and keys.

/** A box's sides keep this many pixels of the screen, so that it can be seen and held. */
const LEAST = 8;
/** Pixels of the screen that a key moves by. */
const STEP = 5;

const HANDLES = { nw: [0, 0], n: [50, 0], ne: [100, 0], e: [100, 50], se: [100, 100], s: [50, 100], sw: [0, 100], w: [0, 50] };

/** Which edges a key moves, by the modifier that is held. */
const MOVED = { none: "nesw", shift: "es", ctrl: "nw" };

/** Edges in pixels of the radiograph, which is `width` x `height` and fills the `stage`. */
export class Editor {
  #mined = null;
  #size = { width: 1, height: 1 };
  #left = 0;
  #top = 0;
  #right = 1;
  #bottom = 1;

  /** @param {() => void} changed is told of each change. */
  constructor(element, stage, changed) {
    this.element = element;
    this.stage = stage;
    this.changed = changed;
    element.append(...Object.entries(HANDLES).map(([edges, place]) => handle(edges, place)));
    element.addEventListener("pointerdown", (event) => this.#grasp(event));
  }

  /** Edit a box of a radiograph. */
  open(edges, { width, height }) {
    this.#mined = edges;
    this.#size = { width, height };
    this.reset();
    // A new box is pointed at for a moment.
    this.element.classList.remove("new-place");
    void this.element.offsetWidth;
    this.element.classList.add("new-place");
  }

  reset() {
    const { x, y, width, height } = this.#mined;
    [this.#left, this.#top, this.#right, this.#bottom] = [x, y, x + width, y + height];
    this.#place();
  }

  get moved() {
    const { x, y, width, height } = this.#mined;
    const before = [x, y, x + width, y + height];
    const now = [this.#left, this.#top, this.#right, this.#bottom];
    return now.some((edge, at) => Math.abs(edge - before[at]) > 1e-6);
  }

  get edges() {
    const [width, height] = [this.#right - this.#left, this.#bottom - this.#top];
    return { x: this.#left, y: this.#top, width, height };
  }

  /** Move by an arrow key. */
  nudge(arrow, { shiftKey, ctrlKey }) {
    const step = STEP / this.#scale;
    const [across, down] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[arrow];
    this.#move(MOVED[shiftKey ? "shift" : ctrlKey ? "ctrl" : "none"], across, down);
  }

  /** Pixels of the screen for one of the radiograph. */
  get #scale() {
    return this.stage.getBoundingClientRect().width / this.#size.width;
  }

  #grasp(event) {
    if (event.button !== 0) return;
    event.stopPropagation(); // Else the view would pan.
    this.element.setPointerCapture(event.pointerId);
    const edges = event.target.dataset.edges ?? "nesw";
    const { clientX, clientY } = event;
    const [left, top, right, bottom] = [this.#left, this.#top, this.#right, this.#bottom];
    const drag = (moved) => {
      if (moved.pointerId !== event.pointerId) return;
      // From where it was grasped: what runs into an edge comes back with the pointer.
      [this.#left, this.#top, this.#right, this.#bottom] = [left, top, right, bottom];
      const scale = this.#scale;
      this.#move(edges, (moved.clientX - clientX) / scale, (moved.clientY - clientY) / scale);
    };
    const release = () => {
      this.element.removeEventListener("pointermove", drag);
      for (const end of ["pointerup", "pointercancel"]) this.element.removeEventListener(end, release);
    };
    this.element.addEventListener("pointermove", drag);
    for (const end of ["pointerup", "pointercancel"]) this.element.addEventListener(end, release);
  }

  /** Move some edges, within the radiograph and never past each other. */
  #move(edges, across, down) {
    const { width, height } = this.#size;
    const least = Math.min(LEAST / this.#scale, this.#right - this.#left, this.#bottom - this.#top);
    if (edges === "nesw") {
      across = between(-this.#left, across, width - this.#right);
      down = between(-this.#top, down, height - this.#bottom);
    }
    const [left, top, right, bottom] = [this.#left, this.#top, this.#right, this.#bottom];
    const whole = edges === "nesw";
    if (edges.includes("w")) this.#left = between(0, left + across, whole ? width : right - least);
    if (edges.includes("e")) this.#right = between(whole ? 0 : left + least, right + across, width);
    if (edges.includes("n")) this.#top = between(0, top + down, whole ? height : bottom - least);
    if (edges.includes("s")) this.#bottom = between(whole ? 0 : top + least, bottom + down, height);
    this.#place();
  }

  #place() {
    const { width, height } = this.#size;
    Object.assign(this.element.style, {
      left: `${(100 * this.#left) / width}%`,
      top: `${(100 * this.#top) / height}%`,
      width: `${(100 * (this.#right - this.#left)) / width}%`,
      height: `${(100 * (this.#bottom - this.#top)) / height}%`,
    });
    this.element.classList.toggle("moved", this.moved);
    this.changed();
  }
}

function handle(edges, [left, top]) {
  const element = Object.assign(document.createElement("span"), { className: "handle" });
  element.dataset.edges = edges;
  Object.assign(element.style, { left: `${left}%`, top: `${top}%` });
  return element;
}

const between = (least, value, most) => Math.max(least, Math.min(most, value));
