// A finding over its radiograph: heat map and boxes, on the page and in the picture that is saved.

import { drawHeat } from "./heat.js";

const SVG = "http://www.w3.org/2000/svg";

/** The heat map of a place of the step slider: 0 is the fused one, 1 that of step 0, and so on. */
export function mapAt(finding, place) {
  return place === 0 ? finding.heatmap : finding.steps[place - 1];
}

/** The boxes of a place of the step slider. */
export function boxesAt(finding, place) {
  return finding.boxes.filter((box) => place === 0 || box.step === place - 1);
}

/** The part of the radiograph, in its pixels, that heat maps cover. */
export function fieldOf({ field, width, height }) {
  return field ?? { x: 0, y: 0, width, height };
}

/** Draw a radiograph into its canvas. */
export function showPicture(canvas, picture) {
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

/** Name the patient's sides, where the file does. */
export function showSides(left, right, imageLeft) {
  const [onLeft, onRight] = { "patient right": ["R", "L"], "patient left": ["L", "R"] }[imageLeft] ?? [];
  left.hidden = right.hidden = onLeft === undefined;
  left.textContent = onLeft ?? "";
  right.textContent = onRight ?? "";
}

/** Lay a heat map over the field. */
export function showHeat(canvas, map, radiograph) {
  drawHeat(canvas, map);
  cover(canvas, fieldOf(radiograph), radiograph);
}

/** Outline the field where it is not the whole radiograph: the model saw nothing beyond it. */
export function showField(outline, radiograph) {
  outline.hidden = isWhole(radiograph);
  cover(outline, fieldOf(radiograph), radiograph);
}

/** Whether the field is the whole radiograph. */
export function isWhole(radiograph) {
  const { width, height } = fieldOf(radiograph);
  return width === radiograph.width && height === radiograph.height;
}

/** Draw boxes in pixels of the radiograph, and their scores beside them. */
export function showBoxes(svg, tags, boxes, radiograph, positive) {
  svg.setAttribute("viewBox", `0 0 ${radiograph.width} ${radiograph.height}`);
  svg.classList.toggle("below", !positive);
  // A dark line under a bright one is seen on any ground.
  svg.replaceChildren(...boxes.flatMap((box) => ["casing", "box"].map((name) => rect(name, box))));
  tags.replaceChildren(
    ...boxes.map((box) => {
      const tag = document.createElement("span");
      tag.textContent = box.score.toFixed(2);
      place(tag, box, radiograph);
      return tag;
    }),
  );
}

function rect(name, box) {
  const element = document.createElementNS(SVG, "rect");
  element.setAttribute("class", name);
  for (const side of ["x", "y", "width", "height"]) element.setAttribute(side, box[side]);
  return element;
}

function cover(element, part, radiograph) {
  place(element, part, radiograph);
  Object.assign(element.style, {
    width: share(part.width, radiograph.width),
    height: share(part.height, radiograph.height),
  });
}

function place(element, { x, y }, { width, height }) {
  Object.assign(element.style, { left: share(x, width), top: share(y, height) });
}

const share = (part, whole) => `${(100 * part) / whole}%`;
