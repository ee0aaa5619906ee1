// The radiograph on its stage: zoom and pan by mouse, touch and keys.

const MOST = 12;
const STEP = 1.4;
const PAN = 60;

/**
 * Places a stage within a view. The stage is the radiograph, `width` x `height` of its own pixels;
 * the view always shows as much of it as it can.
 */
export class View {
  #width = 1;
  #height = 1;
  /** 1 shows the whole radiograph. */
  #zoom = 1;
  /** The point of the radiograph, in its pixels, that lies in the middle of the view. */
  #centre = { x: 0.5, y: 0.5 };
  #pointers = new Map();

  constructor(view, stage) {
    this.view = view;
    this.stage = stage;
    new ResizeObserver(() => this.#place()).observe(view);
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("dblclick", (event) => this.#toggle(event));
    view.addEventListener("keydown", (event) => this.#key(event));
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      view.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  /** Show another radiograph, of that size in pixels, as a whole. */
  open(width, height) {
    this.#width = width;
    this.#height = height;
    this.stage.hidden = false;
    this.fit();
  }

  close() {
    this.stage.hidden = true;
  }

  fit() {
    this.#zoom = 1;
    this.#place();
  }

  /** Zoom to a part of the radiograph. */
  show({ x, y, width, height }) {
    const whole = Math.min(this.#width / width, this.#height / height);
    this.#zoom = Math.max(1, Math.min(MOST, whole / 2.5));
    this.#centre = { x: x + width / 2, y: y + height / 2 };
    this.#place();
  }

  zoomIn() {
    this.#zoomAt(STEP, this.#middle());
  }

  zoomOut() {
    this.#zoomAt(1 / STEP, this.#middle());
  }

  /** Pixels of the screen for a pixel of the radiograph. */
  get #scale() {
    const { clientWidth, clientHeight } = this.view;
    return Math.min(clientWidth / this.#width, clientHeight / this.#height) * this.#zoom;
  }

  #middle() {
    return { x: this.view.clientWidth / 2, y: this.view.clientHeight / 2 };
  }

  #place() {
    const { x, y } = this.#middle();
    const scale = this.#scale;
    this.#centre.x = clamp(this.#centre.x, x / scale, this.#width);
    this.#centre.y = clamp(this.#centre.y, y / scale, this.#height);
    Object.assign(this.stage.style, {
      left: `${x - this.#centre.x * scale}px`,
      top: `${y - this.#centre.y * scale}px`,
      width: `${this.#width * scale}px`,
      height: `${this.#height * scale}px`,
    });
    // While the whole radiograph is in sight, a finger on it may scroll the page.
    this.view.classList.toggle("zoomed", this.#zoom > 1);
  }

  /** Zoom, while the radiograph's point under a point of the view stays there. */
  #zoomAt(factor, point) {
    const middle = this.#middle();
    const before = this.#scale;
    this.#zoom = Math.max(1, Math.min(MOST, this.#zoom * factor));
    const shift = 1 / before - 1 / this.#scale;
    this.#centre.x += (point.x - middle.x) * shift;
    this.#centre.y += (point.y - middle.y) * shift;
    this.#place();
  }

  #pan(across, down) {
    this.#centre.x -= across / this.#scale;
    this.#centre.y -= down / this.#scale;
    this.#place();
  }

  #pointOf(event) {
    const { left, top } = this.view.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #wheel(event) {
    if (this.stage.hidden) return;
    event.preventDefault();
    // Pixels, lines or pages; a trackpad's pinch comes as small steps with `ctrlKey`.
    const pixels = event.deltaY * [1, 20, 400][event.deltaMode] * (event.ctrlKey ? 5 : 1);
    this.#zoomAt(Math.exp(-pixels / 600), this.#pointOf(event));
  }

  #toggle(event) {
    if (this.#zoom > 1) this.fit();
    else this.#zoomAt(STEP ** 3, this.#pointOf(event));
  }

  #key(event) {
    if (event.target !== this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      "+": () => this.zoomIn(),
      "=": () => this.zoomIn(),
      "-": () => this.zoomOut(),
      0: () => this.fit(),
      ArrowLeft: () => this.#pan(PAN, 0),
      ArrowRight: () => this.#pan(-PAN, 0),
      ArrowUp: () => this.#pan(0, PAN),
      ArrowDown: () => this.#pan(0, -PAN),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #down(event) {
    if (this.stage.hidden || event.button !== 0 || event.target.closest("button")) return;
    this.view.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#pointOf(event));
  }

  /** One pointer pans; two pan and zoom. */
  #move(event) {
    if (!this.#pointers.has(event.pointerId)) return;
    const before = extent(this.#pointers);
    this.#pointers.set(event.pointerId, this.#pointOf(event));
    const after = extent(this.#pointers);
    this.#pan(after.x - before.x, after.y - before.y);
    if (before.spread && after.spread) this.#zoomAt(after.spread / before.spread, after);
  }
}

/** Keep a centre so that no more than `half` a view lies before 0 or behind `size`, if possible. */
function clamp(centre, half, size) {
  return 2 * half >= size ? size / 2 : Math.max(half, Math.min(size - half, centre));
}

/** The middle of the pointers, and how far the first two are apart. */
function extent(pointers) {
  const [first, second = first] = pointers.values();
  return {
    x: (first.x + second.x) / 2,
    y: (first.y + second.y) / 2,
    spread: Math.hypot(first.x - second.x, first.y - second.y),
  };
}
