// The page: what a person does, and what is shown of it.

import { saveAnswer, savePicture } from "./download.js";
import { filesOf } from "./dropped.js";
import { drawLegend } from "./heat.js";
import { boxesAt, mapAt, showBoxes, showField, showHeat, showPicture, showSides } from "./overlay.js";
import { evidencePairs, FileList, showFindings, showPairs, showWarnings } from "./panel.js";
import { Radiographs } from "./radiographs.js";
import { askModel, useKey } from "./service.js";
import { View } from "./view.js";
import { againstThreshold, describe, factsOf, nameOfStep, progressOf, stateOf, summarize } from "./words.js";

const $ = (id) => document.getElementById(id);

const PROMISE = $("summary").textContent;
const HINT = $("progress").textContent;

/** The radiograph that is shown, if any. */
let shown = null;
/** Whether the model's name was kept back for want of a key. */
let nameless = false;
/** The disease that a person chose; it stays from one radiograph to the next. */
let chosen = null;

const view = new View($("view"), $("stage"));
const files = new FileList($("files"), { open, remove });
const radiographs = new Radiographs(changed);

function add(chosen) {
  // Rows first: the first of them are sent, and told of, at once.
  const added = radiographs.add(chosen, (radiograph) => files.add(radiograph));
  showProgress();
  if (added.length) open(added[0]);
}

function open(radiograph) {
  shown = radiograph;
  files.mark(radiograph);
  show();
}

function remove(radiograph) {
  const place = radiographs.all.indexOf(radiograph);
  radiographs.remove(radiograph);
  files.remove(radiograph);
  const left = radiographs.all;
  if (radiograph === shown) open(left[Math.min(place, left.length - 1)] ?? null);
  showProgress();
  showKeyForm();
  $("choose").focus();
}

function changed(radiograph) {
  files.update(radiograph);
  showProgress();
  const { name } = radiograph.state;
  if (name === "done" || name === "refused") tell(radiograph);
  showKeyForm();
  if (radiograph === shown) show();
}

/** How far all of them are. */
function showProgress() {
  $("progress").textContent = radiographs.all.length ? progressOf(radiographs.all) : HINT;
}

/** Say where it stands to those who listen. */
function tell(radiograph) {
  const words = radiograph.problem?.detail ?? `${stateOf(radiograph)}.`;
  $("status").textContent = `${radiograph.file.name}: ${words} ${progressOf(radiographs.all)}`;
}

function showKeyForm() {
  const locked = nameless || radiographs.all.some(({ state }) => state.name === "locked");
  const form = $("key-form");
  if (locked === !form.hidden) return;
  form.hidden = !locked;
  if (locked) $("key").focus();
}

/** Show the radiograph that is open, as far as it is. */
function show() {
  const state = shown?.state.name ?? "none";
  const done = state === "done";
  $("welcome").hidden = shown !== null;
  $("refusal").hidden = state !== "refused";
  $("working").hidden = done || state === "none" || state === "refused";
  $("controls").disabled = !done;
  $("details").hidden = $("columns").hidden = !done;
  for (const id of ["zoom-in", "zoom-out", "zoom-fit"]) $(id).disabled = !done;
  if (done) showAnswer();
  else showNothing();
  if (state === "refused") showProblem(shown.problem);
  else if (shown && !done) $("working-words").textContent = stateOf(shown);
}

function showNothing() {
  view.close();
  $("view").removeAttribute("tabindex");
  $("caption").textContent = "";
  $("summary").textContent = shown?.problem ? "Not looked for: the file was not localized." : PROMISE;
  $("findings").replaceChildren();
  $("warnings").hidden = $("side-left").hidden = $("side-right").hidden = true;
}

function showProblem({ title, detail, evidence, passing }) {
  $("refusal-title").textContent = title;
  $("refusal-detail").textContent = detail;
  showPairs($("refusal-evidence"), evidencePairs(evidence));
  $("again").hidden = !passing;
}

function showAnswer() {
  const { answer, picture } = shown;
  const { findings, model, radiograph } = answer;
  $("model").textContent = `${model.name} ${model.version}`;
  showPicture($("picture"), picture);
  view.open(radiograph.width, radiograph.height);
  $("view").tabIndex = 0;
  showSides($("side-left"), $("side-right"), radiograph.image_left);
  $("step").max = findings[0].steps.length;
  $("summary").textContent = summarize(findings);
  showWarnings($("warnings"), $("warning-list"), radiograph.warnings);
  showFindings($("findings"), findings, findingOf(shown), choose);
  showPairs($("facts"), factsOf(answer));
  draw();
}

/** The finding that is shown of a radiograph: the chosen one, else that furthest above its operating point. */
function findingOf({ answer: { findings } }) {
  const furthest = (a, b) => (againstThreshold(b) > againstThreshold(a) ? b : a);
  return findings.find(({ disease }) => disease === chosen) ?? findings.reduce(furthest);
}

function choose(disease) {
  chosen = disease;
  draw();
}

/** What lies over the radiograph, as the controls say. */
function overlay() {
  return {
    finding: findingOf(shown),
    place: Number($("step").value),
    heat: $("show-heat").checked,
    boxes: $("show-boxes").checked,
    opacity: Number($("opacity").value) / 100,
  };
}

function draw() {
  const { finding, place, heat, boxes, opacity } = overlay();
  const { radiograph } = shown.answer;
  const [map, found] = [mapAt(finding, place), boxesAt(finding, place)];
  showHeat($("heat"), map, radiograph);
  showField($("field"), radiograph);
  $("heat").hidden = !heat;
  $("heat").style.opacity = opacity;
  showBoxes($("boxes"), $("tags"), boxes ? found : [], radiograph, finding.positive);
  const words = describe(finding, map, found);
  $("caption").textContent = words;
  $("picture").ariaLabel = `Radiograph ${shown.file.name}. ${words}`;
}

function showControls() {
  const place = Number($("step").value);
  $("step-name").textContent = nameOfStep(place);
  $("step").ariaValueText = nameOfStep(place);
  $("opacity-name").textContent = `${$("opacity").value}\u202f%`;
  if (shown?.answer) draw();
}

function listenToControls() {
  for (const id of ["step", "opacity", "show-heat", "show-boxes"]) {
    $(id).addEventListener("input", showControls);
  }
  $("zoom-in").addEventListener("click", () => view.zoomIn());
  $("zoom-out").addEventListener("click", () => view.zoomOut());
  $("zoom-fit").addEventListener("click", () => view.fit());
  $("again").addEventListener("click", () => radiographs.again(shown));
  $("save-json").addEventListener("click", () => saveAnswer(shown));
  $("save-png").addEventListener("click", () => savePicture(shown, overlay()));
}

function listenToFiles() {
  const input = $("files-input");
  for (const id of ["choose", "choose-first"]) $(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add(input.files);
    input.value = ""; // Else the same file could not be chosen twice.
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").hidden = !event.dataTransfer.types.includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").hidden = true;
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    try {
      add(await filesOf(event.dataTransfer));
    } catch {
      $("progress").textContent = $("status").textContent = "What was dropped cannot be read.";
    }
  });
}

function listenToKey() {
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey($("key").value);
    $("key").value = "";
    $("key-hint").textContent = "That key was not accepted.";
    nameless = false;
    radiographs.unlock();
    showModel();
  });
}

/** Name the model before it has answered; a later answer names its own. */
async function showModel() {
  try {
    const { name, version } = await askModel();
    $("model").textContent = `${name} ${version}`;
  } catch (problem) {
    $("model").textContent = "not known yet";
    nameless = problem.status === 401;
  }
  showKeyForm();
}

listenToControls();
listenToFiles();
listenToKey();
drawLegend($("legend"));
showModel();
