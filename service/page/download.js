// What a person takes away: the answer as JSON, the finding as a picture.

import { boxesAt, fieldOf, mapAt } from "./overlay.js";
import { drawHeat, drawLegend } from "./heat.js";
import { nameOf, nameOfStep, percent } from "./words.js";

/** A smaller radiograph is enlarged to this longest side, for the words to fit below it. */
const LEAST = 768;
const MARGIN = 14;
const LINE = 22;
const LEGEND = 140;
const BOX = "#7df9ff";
const FONT = "15px system-ui, sans-serif";

/** Save the answer, without a copy of the radiograph. */
export function saveAnswer({ file, answer }) {
  const text = JSON.stringify(answer, null, 1);
  save(new Blob([text], { type: "application/json" }), `${baseOf(file)}.json`);
}

/** Save the radiograph with the finding as it is shown; `shown` as in `drawAnnotated`. */
export async function savePicture(radiograph, shown) {
  const canvas = drawAnnotated(radiograph, shown);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  save(blob, `${baseOf(radiograph.file)}-${shown.finding.disease}.png`);
}

/** `shown` is `{finding, place, heat, boxes, opacity}`: what lies over the radiograph. */
function drawAnnotated({ picture, answer }, shown) {
  const [width, height] = [picture.naturalWidth, picture.naturalHeight];
  const scale = Math.max(1, LEAST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  const bottom = Math.round(height * scale);
  const words = wrap(captionOf(answer, shown), canvas.width - LEGEND - 4 * MARGIN);
  canvas.height = bottom + MARGIN * 2 + words.length * LINE;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, bottom);
  context.save();
  context.scale(canvas.width / answer.radiograph.width, bottom / answer.radiograph.height);
  if (shown.heat) paintHeat(context, answer.radiograph, shown);
  if (shown.boxes) paintBoxes(context, answer.radiograph.width / canvas.width, shown);
  context.restore();
  paintCaption(context, bottom, words);
  return canvas;
}

function paintHeat(context, radiograph, { finding, place, opacity }) {
  const heat = document.createElement("canvas");
  drawHeat(heat, mapAt(finding, place));
  const { x, y, width, height } = fieldOf(radiograph);
  context.globalAlpha = opacity;
  context.imageSmoothingQuality = "high";
  context.drawImage(heat, x, y, width, height);
  context.globalAlpha = 1;
}

/** `pixel` is that of the canvas, in pixels of the radiograph. */
function paintBoxes(context, pixel, { finding, place }) {
  if (!finding.positive) context.setLineDash([6 * pixel, 4 * pixel]);
  for (const { x, y, width, height, score } of boxesAt(finding, place)) {
    for (const [colour, line] of [["#000", 5], [BOX, 2]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: line * pixel });
      context.strokeRect(x, y, width, height);
    }
    context.fillStyle = "#000c";
    context.fillRect(x, y, 42 * pixel, 21 * pixel);
    Object.assign(context, { fillStyle: BOX, font: `${14 * pixel}px system-ui, sans-serif` });
    context.fillText(score.toFixed(2), x + 6 * pixel, y + 16 * pixel);
  }
}

function paintCaption(context, top, words) {
  const { width, height } = context.canvas;
  context.fillStyle = "#0c1218";
  context.fillRect(0, top, width, height - top);
  Object.assign(context, { fillStyle: "#e8eef3", font: FONT, textBaseline: "top" });
  words.forEach((line, row) => context.fillText(line, MARGIN, top + MARGIN + row * LINE));
  const legend = document.createElement("canvas");
  Object.assign(legend, { width: LEGEND, height: 1 });
  drawLegend(legend);
  const left = width - MARGIN - LEGEND;
  context.drawImage(legend, left, top + MARGIN, LEGEND, 12);
  context.fillText("0", left, top + MARGIN + 18);
  context.fillText("1", width - MARGIN - 9, top + MARGIN + 18);
}

function captionOf({ model }, { finding, place }) {
  return (
    `${nameOf(finding.disease)} ${percent(finding.probability)}, operating point ` +
    `${percent(finding.threshold)}. ${nameOfStep(place)}. ${model.name} ${model.version}. ` +
    "For research. Not a medical device, not for clinical use."
  );
}

/** Break words into lines that are no longer than so many pixels. */
function wrap(text, width) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = FONT;
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trimStart();
    if (context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const baseOf = (file) => file.name.replace(/\.[^.]+$/, "");
