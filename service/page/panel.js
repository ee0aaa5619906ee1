// What stands beside the radiograph: files, warnings, findings, facts.

import { againstThreshold, nameOf, percent, stateOf, wordsOf } from "./words.js";

/** Make an element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The list of files; a row stays the same element, so that it keeps the focus. */
export class FileList {
  #rows = new Map();

  /** @param act has `open` and `remove`, which are told a radiograph. */
  constructor(list, act) {
    this.list = list;
    this.act = act;
  }

  add(radiograph) {
    const { name } = radiograph.file;
    const state = make("span", { className: "state" });
    const progress = make("progress", { max: 1, ariaLabel: `Progress of ${name}` });
    const open = make("button", { type: "button", className: "file-open", title: name });
    open.append(make("span", { className: "name", textContent: name }), state);
    open.addEventListener("click", () => this.act.open(radiograph));
    const remove = make("button", { type: "button", className: "icon-button", textContent: "×" });
    remove.ariaLabel = `Remove ${name}`;
    remove.addEventListener("click", () => this.act.remove(radiograph));
    const item = make("li", {}, open, progress, remove);
    this.#rows.set(radiograph, { item, open, state, progress });
    this.list.append(item);
    this.update(radiograph);
  }

  update(radiograph) {
    const row = this.#rows.get(radiograph);
    const { name, share } = radiograph.state;
    row.item.dataset.state = name;
    row.state.textContent = stateOf(radiograph);
    if (name === "sending") row.progress.value = share;
    else row.progress.removeAttribute("value");
  }

  remove(radiograph) {
    this.#rows.get(radiograph).item.remove();
    this.#rows.delete(radiograph);
  }

  /** Mark the one that is shown. */
  mark(shown) {
    for (const [radiograph, { open }] of this.#rows) {
      open.setAttribute("aria-current", String(radiograph === shown));
    }
  }
}

/** Show the findings as a group of radio buttons, furthest above their operating points first; one is `chosen`. */
export function showFindings(group, findings, chosen, choose) {
  const sorted = findings.toSorted((a, b) => againstThreshold(b) - againstThreshold(a));
  group.replaceChildren(...sorted.map((finding) => row(finding, chosen, choose)));
}

function row(finding, chosen, choose) {
  const name = nameOf(finding.disease);
  const [probability, threshold] = [percent(finding.probability), percent(finding.threshold)];
  const input = make("input", { type: "radio", name: "finding", value: finding.disease });
  const relation = finding.positive ? "reaches" : "below";
  input.ariaLabel = `${name} ${probability}, ${relation} its operating point ${threshold}`;
  input.checked = finding === chosen;
  input.addEventListener("change", () => choose(finding.disease));
  const bar = make("span", { className: "bar" }, make("span"));
  bar.firstChild.style.width = percent(againstThreshold(finding)).replace("\u202f", "");
  return make(
    "label",
    { className: finding.positive ? "finding positive" : "finding" },
    input,
    make("span", { className: "name", textContent: name }),
    bar,
    make("span", { className: "number", textContent: probability }),
    make("span", { className: "number point", textContent: threshold }),
  );
}

/** Show what the answer warns of. */
export function showWarnings(section, list, warnings) {
  section.hidden = warnings.length === 0;
  list.replaceChildren(
    ...warnings.map(({ detail, evidence }) => {
      const values = make("dl");
      showPairs(values, evidencePairs(evidence));
      return make("li", {}, make("p", { textContent: detail }), values);
    }),
  );
}

/** Evidence as pairs of words. */
export function evidencePairs(evidence) {
  return Object.entries(evidence).map(([name, value]) => [wordsOf(name), String(value)]);
}

/** Fill a description list; hidden where there is nothing to say. */
export function showPairs(list, pairs) {
  list.hidden = pairs.length === 0;
  list.replaceChildren(
    ...pairs.flatMap(([name, value]) => [
      make("dt", { textContent: name }),
      make("dd", { textContent: value }),
    ]),
  );
}
