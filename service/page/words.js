// Numbers and states in words.

import { isWhole } from "./overlay.js";

/** `Pleural_Thickening` as people write it. */
export function nameOf(disease) {
  const words = disease.replaceAll("_", " ").toLowerCase();
  return words[0].toUpperCase() + words.slice(1);
}

/** A share of 1, in percent. */
export function percent(share) {
  return `${(100 * share).toFixed(1)}\u202f%`;
}

/**
 * Where a probability lies between 0 and 1 on a scale that has the operating point in its middle:
 * the odds, over those of the operating point, as a probability again.
 */
export function againstThreshold({ probability, threshold }) {
  const odds = probability * (1 - threshold);
  return odds / (odds + threshold * (1 - probability)) || 0;
}

/** The finding as a sentence or two; `boxes` are those that are shown. */
export function describe(finding, map, boxes) {
  const peak = Math.max(...map.data.flat()).toFixed(2);
  const count = boxes.length === 1 ? "1 box" : `${boxes.length || "no"} boxes`;
  const found = finding.positive ? "reaches" : "stays below";
  return (
    `${nameOf(finding.disease)}: ${percent(finding.probability)} ${found} its operating point of ` +
    `${percent(finding.threshold)}. Heat up to ${peak}, ${count}.`
  );
}

/** What the slider of the mining steps shows at a place. */
export function nameOfStep(place) {
  if (place === 0) return "All steps, fused";
  return place === 1 ? "Step 0: as it is" : `Step ${place - 1}: earlier finds hidden`;
}

/** How many findings reach their operating points. */
export function summarize(findings) {
  return `${positives(findings)} of ${findings.length} reach their operating point.`;
}

const positives = (findings) => findings.filter((finding) => finding.positive).length;

/** Where a radiograph stands, shortly. */
export function stateOf({ state, answer, problem }) {
  switch (state.name) {
    case "waiting":
      return "Waiting";
    case "sending":
      return `Sending ${Math.round(100 * state.share)}\u202f%`;
    case "working":
      return "Localizing";
    case "busy":
      return `Busy, again in ${Math.ceil(state.seconds)}\u202fs`;
    case "locked":
      return "Needs an access key";
    case "refused":
      return problem.passing ? "Failed" : "Refused";
    default:
      return `${positives(answer.findings)} positive${cautions(answer.radiograph.warnings.length)}`;
  }
}

const cautions = (count) => (count ? `, ${count} ${count === 1 ? "warning" : "warnings"}` : "");

/** How far all of them are. */
export function progressOf(radiographs) {
  const refused = radiographs.filter(({ state }) => state.name === "refused").length;
  const ended = refused + radiographs.filter(({ state }) => state.name === "done").length;
  return `${ended} of ${radiographs.length} answered${refused ? `, ${refused} of them not localized` : ""}.`;
}

/** `pixel_count` or `pixelCount` of some evidence as words. */
export function wordsOf(code) {
  const words = code.replace(/[_-]+/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return words[0].toUpperCase() + words.slice(1);
}

/** What is known of the radiograph, as pairs of a name and a value. */
export function factsOf({ id, model, radiograph }) {
  const { format, width, height, field, image_left: left, window, typicality } = radiograph;
  return [
    ["Model", `${model.name} ${model.version}`],
    ["Image", `${format}, ${width} × ${height} pixels`],
    ["Model saw", isWhole(radiograph) ? "all of it" : `${field.width} × ${field.height} pixels, within the borders`],
    ["Image’s left", left === "unknown" ? "not said by the file" : left],
    ["Display window", window ?? (format === "DICOM" ? "not said" : "none needed")],
    ["Typicality", typicality == null ? "not measured" : `${typicality.toFixed(2)} of 1`],
    ["Request", id],
  ];
}
