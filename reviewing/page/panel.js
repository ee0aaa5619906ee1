// What stands beside the radiograph.

import { againstThreshold, nameOf, percent } from "../page/words.js";
import { lettersOf } from "./keys.js";

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Offer the diseases: as a filter, and for a box that shows another one. */
export function offerDiseases(diseases, choose) {
  const letters = lettersOf(diseases);
  $("disease").append(...diseases.map((each) => new Option(nameOf(each), each)));
  $("diseases").replaceChildren(
    ...diseases.map((disease) => {
      const key = make("kbd", { textContent: letters.get(disease).toUpperCase() });
      const button = make("button", { type: "button", className: "button" }, nameOf(disease), " ", key);
      button.value = disease;
      button.addEventListener("click", () => choose(disease));
      return button;
    }),
  );
  $("relabel-dialog").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const disease = diseases.find((each) => letters.get(each) === event.key.toLowerCase());
    if (disease) document.querySelector(`#diseases button[value=${disease}]`).click();
  });
}

/** Ask which disease a box shows instead of its own. */
export function askDisease(own) {
  for (const button of $("diseases").children) button.disabled = button.value === own;
  $("relabel-dialog").showModal();
}

/** Show what is known of a box; nothing for null. */
export function showBox(box) {
  $("question").hidden = !box;
  if (!box) return;
  $("finding-name").textContent = nameOf(box.disease);
  $("odds").classList.toggle("positive", box.probability >= box.threshold);
  $("odds").querySelector(".bar span").style.width = `${100 * againstThreshold(box)}%`;
  const facts = factsOf(box).map(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]);
  $("facts").replaceChildren(...facts.flat());
}

function factsOf(box) {
  const reaches = box.probability >= box.threshold ? "reaches" : "stays below";
  const facts = [
    ["Model", `${percent(box.probability)} ${reaches} its operating point of ${percent(box.threshold)}`],
    ["Box", `${box.place + 1} of ${box.others.length + 1}, score ${box.score.toFixed(2)}, mining step ${box.step}`],
    ["File", box.radiograph.path],
  ];
  if (box.labelled !== null) facts.splice(1, 0, ["Label", labelOf(box)]);
  return facts;
}

function labelOf({ labelled, disputed }) {
  const words = labelled ? "the image is labelled with it" : "the image is not labelled with it";
  return disputed ? `${words}: label and model disagree` : words;
}

/** The box as a sentence. */
export function describe(box) {
  return `${nameOf(box.disease)}, box ${box.place + 1} of ${box.others.length + 1}, ${percent(box.probability)}.`;
}

export function showProgress({ boxes, judged, judged_by_anyone: anyone }) {
  $("count").textContent = `${judged} of ${boxes}`;
  $("progress").max = Math.max(1, boxes);
  $("progress").value = judged;
  $("counts").textContent = `Boxes that you have judged; all reviewers together: ${anyone}.`;
}

/** Show how far pairs of reviewers agree. */
export function showAgreement(pairs) {
  $("agreement-words").textContent = pairs.length
    ? "Of the boxes that both have judged: the share that both keep or both reject, Cohen’s kappa of it, and the overlap (IoU) of boxes that were moved."
    : "No box has been judged by two reviewers yet.";
  const heads = ["Reviewers", "Boxes", "Agree", "Kappa", "IoU"];
  const head = make("tr", {}, ...heads.map((textContent) => make("th", { textContent, scope: "col" })));
  const rows = pairs.map(({ reviewers, boxes, agreement, kappa, iou }) =>
    make(
      "tr",
      {},
      make("th", { textContent: reviewers.join(" / "), scope: "row" }),
      ...[boxes, percent(agreement), figure(kappa), figure(iou)].map((value) => make("td", { textContent: value })),
    ),
  );
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  $("agreement-table").replaceChildren(...(pairs.length ? [table] : []));
}

const figure = (value) => (value === null ? "–" : value.toFixed(2));
