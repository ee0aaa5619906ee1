// The review: one box after another, judged by mouse or keys.

import { showBoxes, showHeat, showPicture, showSides } from "../page/overlay.js";
import { View } from "../page/view.js";
import { nameOf } from "../page/words.js";
import * as desk from "./desk.js";
import { Editor } from "./editor.js";
import { listenToKeys } from "./keys.js";
import { recall, remember } from "./memory.js";
import { askDisease, describe, offerDiseases, showAgreement, showBox, showProgress } from "./panel.js";
import { listenToTones } from "./tones.js";

const $ = (id) => document.getElementById(id);

const DONE = {
  uncertain: ["All boxes are judged", "Nothing is left that you have not judged. Thank you."],
  disputed: ["All boxes are judged", "Nothing is left that you have not judged. Thank you."],
  second: ["No second reading waits", "Nobody else has judged a box that you have not."],
};

let reviewer = recall("localStorage", "reviewer");
/** The box that is judged, once it is shown. */
let box = null;
/** Whether its radiograph and its edges are on the stage. */
let shown = false;
/** The radiograph on the stage. */
let path = null;
/** While the server is asked, nothing is decided. */
let busy = false;
/** Ends when the server has answered. */
let answered = Promise.resolve();

const view = new View($("view"), $("stage"));
const editor = new Editor($("box"), $("stage"), enable);

/** Do something that the server is asked for, unless it is being asked; what it has against it is told. */
function act(doing) {
  if (!busy) answered = ask(doing);
  return answered;
}

/** The same, once it has answered what it is being asked. */
async function actNext(doing) {
  while (busy) await answered;
  await act(doing);
}

async function ask(doing) {
  busy = true;
  enable();
  try {
    await doing();
    $("problem").hidden = true;
  } catch (error) {
    const problem = toProblem(error);
    $("problem-title").textContent = problem.message;
    $("problem-detail").textContent = problem.detail;
    $("problem").hidden = false;
  } finally {
    busy = false;
    enable();
  }
}

/** An error as it is told; one that nobody foresaw goes to the console, too. */
function toProblem(error) {
  if (error instanceof desk.Problem) return error;
  console.error(error);
  return new desk.Problem("The page failed", "Load it again: what was decided is saved.");
}

/** Offer what can be done now. */
function enable() {
  const judging = !busy && shown;
  const moved = shown && editor.moved;
  for (const id of ["accept", "reject", "relabel"]) $(id).disabled = !judging;
  $("accept-words").textContent = moved ? "Accept as moved" : "Accept";
  $("skip").disabled = busy || box === null;
  $("undo").disabled = busy;
  $("reset").disabled = busy || !moved;
}

/** Show the reviewer's next box. */
async function advance(told = "") {
  const { boxes, progress } = await desk.nextBoxes(reviewer, $("walk").value, $("disease").value);
  showProgress(progress);
  await show(boxes[0] ?? null, told);
  boxes.slice(1).forEach((each) => desk.pictureOf(each).catch(() => {})); // It is told when it is shown.
}

/** Show a box, or that there is none. What is on the stage is judged no more, whatever comes of it. */
async function show(next, told) {
  box = next;
  shown = false;
  showBox(box);
  $("message").hidden = true;
  if (!box) {
    close(...DONE[$("walk").value]);
    $("caption").textContent = told;
    return;
  }
  $("working").hidden = box.radiograph.path === path;
  try {
    open(await desk.pictureOf(box));
    shown = true;
    $("caption").textContent = `${told} ${describe(box)}`.trim();
  } catch (error) {
    const problem = toProblem(error);
    close(problem.message, problem.detail);
    $("caption").textContent = told;
    $("again").hidden = false;
  }
  $("working").hidden = true;
}

function open(picture) {
  const { radiograph } = box;
  // The same radiograph stays as it was zoomed.
  if (radiograph.path !== path) {
    path = radiograph.path;
    showPicture($("picture"), picture);
    view.open(radiograph.width, radiograph.height);
    showSides($("side-left"), $("side-right"), radiograph.image_left);
  }
  $("view").tabIndex = 0;
  editor.open(box.edges, radiograph);
  showHeat($("heat"), box.heatmap, radiograph);
  showBoxes($("boxes"), $("tags"), box.others, radiograph, true);
  $("picture").ariaLabel = `Radiograph ${radiograph.path}. ${describe(box)}`;
}

/** Say why there is nothing to see. */
function close(title, detail) {
  path = null;
  view.close();
  $("view").removeAttribute("tabindex");
  $("side-left").hidden = $("side-right").hidden = $("working").hidden = true;
  $("again").hidden = true;
  $("message").hidden = false;
  $("message-title").textContent = title;
  $("message-detail").textContent = detail;
}

function showLayers() {
  $("heat").hidden = !$("show-heat").checked;
  $("heat").style.opacity = Number($("opacity").value) / 100;
  for (const id of ["box", "boxes", "tags"]) $(id).toggleAttribute("hidden", !$("show-boxes").checked);
}

const decided = (decision, words) =>
  act(async () => {
    await desk.decide(box, reviewer, decision);
    await advance(words);
  });

const acts = {
  accept() {
    if ($("accept").disabled) return;
    if (editor.moved) decided({ action: "move", edges: editor.edges }, "Accepted as moved.");
    else decided({ action: "accept" }, "Accepted.");
  },
  reject() {
    if (!$("reject").disabled) decided({ action: "reject" }, "Rejected.");
  },
  relabel() {
    if (!$("relabel").disabled) askDisease(box.disease);
  },
  skip() {
    if ($("skip").disabled) return;
    act(async () => {
      await desk.skip(box, reviewer);
      await advance("Skipped for now.");
    });
  },
  undo() {
    act(async () => {
      const undone = await desk.undo(reviewer);
      if (!undone) $("caption").textContent = "There is nothing to undo.";
      else await showUndone(undone);
    });
  },
  reset() {
    if (!$("reset").disabled) editor.reset();
  },
};

async function showUndone(undone) {
  await show(undone, "Undone: decide again.");
  showProgress((await desk.nextBoxes(reviewer, $("walk").value, $("disease").value)).progress);
}

function relabelled(disease) {
  $("relabel-dialog").close();
  const edges = editor.moved ? editor.edges : null;
  decided({ action: "relabel", new_disease: disease, edges }, `Relabelled: ${nameOf(disease)}.`);
}

const toggle = (id) => () => $(id).click();

function listen() {
  for (const [id, doing] of Object.entries(acts)) $(id).addEventListener("click", doing);
  const nudge = (event) => shown && !busy && editor.nudge(event.key, event);
  const keys = { a: acts.accept, r: acts.reject, l: acts.relabel, s: acts.skip, u: acts.undo, Escape: acts.reset };
  for (const arrow of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) keys[arrow] = nudge;
  Object.assign(keys, { h: toggle("show-heat"), b: toggle("show-boxes"), i: toggle("invert"), z: toggle("zoom-box") });
  Object.assign(keys, { "+": toggle("zoom-in"), "=": toggle("zoom-in"), "-": toggle("zoom-out"), 0: toggle("zoom-fit") });
  listenToKeys(keys, () => $("use-keys").checked);
  $("zoom-in").addEventListener("click", () => view.zoomIn());
  $("zoom-out").addEventListener("click", () => view.zoomOut());
  $("zoom-fit").addEventListener("click", () => view.fit());
  $("zoom-box").addEventListener("click", () => shown && view.show(editor.edges));
  $("again").addEventListener("click", () => act(() => show(box, "")));
  for (const id of ["show-heat", "show-boxes", "opacity"]) $(id).addEventListener("input", showLayers);
  listenToTones($("picture"), $);
  listenToChoices();
  $("reviewer").addEventListener("click", askName);
  $("name-form").addEventListener("submit", named);
  $("name-dialog").addEventListener("cancel", (event) => reviewer || event.preventDefault());
  $("agreement").addEventListener("toggle", () => {
    if ($("agreement").open) actNext(async () => showAgreement(await desk.agreement()));
  });
}

/** What is shown; chosen by mouse, keys go back to the radiograph. */
function listenToChoices() {
  for (const id of ["walk", "disease"]) {
    let pointed = false;
    $(id).addEventListener("pointerdown", () => (pointed = true));
    $(id).addEventListener("keydown", () => (pointed = false));
    $(id).addEventListener("change", async () => {
      remember("sessionStorage", id, $(id).value);
      await actNext(() => advance());
      if (pointed) $("view").focus();
    });
  }
}

function askName() {
  $("name").value = reviewer ?? "";
  $("name-dialog").showModal();
}

function named(event) {
  const name = $("name").value.trim();
  if (!name) event.preventDefault();
  else begin(name);
}

/** Review as someone. */
function begin(name) {
  reviewer = name;
  remember("localStorage", "reviewer", name);
  $("reviewer").textContent = name;
  actNext(() => advance());
}

async function start() {
  const { model, diseases, reviewer: known } = await desk.about();
  $("model").textContent = model;
  offerDiseases(diseases, relabelled);
  for (const id of ["walk", "disease"]) $(id).value = recall("sessionStorage", id) ?? $(id).value;
  reviewer ??= known;
  listen();
  showLayers();
  enable();
  if (reviewer) begin(reviewer);
  else askName();
}

start().catch((error) => {
  const problem = toProblem(error);
  close(problem.message, problem.detail);
  enable();
});
