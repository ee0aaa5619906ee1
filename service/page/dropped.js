// What was dropped: files, and those in folders, as they lie on a disc of radiographs.

/** All files of a drop, those in folders too, in the order of their names; rejects where one cannot be read. */
export async function filesOf({ items, files }) {
  // Asked for at once: after the event, the browser tells nothing of them any more.
  const entries = Array.from(items, (item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return [...files];
  return (await Promise.all(entries.filter(Boolean).map(filesBelow))).flat();
}

async function filesBelow(entry) {
  if (entry.isFile) return new Promise((resolve, reject) => entry.file((file) => resolve([file]), reject));
  const entries = await entriesOf(entry.createReader());
  // A disc's index and what its system hides are no radiographs.
  const wanted = entries.filter(({ name }) => !name.startsWith(".") && name !== "DICOMDIR");
  wanted.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return (await Promise.all(wanted.map(filesBelow))).flat();
}

/** A reader gives some of them at a time, at the end none. */
async function entriesOf(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
