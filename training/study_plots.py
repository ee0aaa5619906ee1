"""The study's pictures: free-response curves, and radiographs with truth and found boxes."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle as Outline

from localization import DISEASES, Compute, Localizer, ModelBundle, Radiograph
from training.dataset import ChestXray14
from training.protocol import (
    LOCALIZED,
    ORIGINAL_SIDE,
    Rectangle,
    Target,
    field_of,
    patient_groups,
)

TRUE, FOUND = "lime", "red"


def draw_curves(curves: dict[str, Any], file: Path) -> None:
    """One panel per overlap threshold, one curve per row.

    Args:
        curves: `AFP`, false boxes per radiograph; `accuracy`, by threshold and row, as long.
        file: of the picture; its suffix is its format.
    """
    thresholds = curves["accuracy"]
    figure = Figure(figsize=(4.5 * len(thresholds), 4), layout="constrained")
    panels = figure.subplots(1, len(thresholds), squeeze=False)[0]
    for panel, (threshold, rows) in zip(panels, thresholds.items(), strict=True):
        for name, accuracy in rows.items():
            panel.plot(curves["AFP"], accuracy, label=name)
        panel.set(
            xscale="log",
            xlabel="false boxes per radiograph of the disease",
            ylabel="share of true boxes found",
            title=f"T(IoU) {threshold}",
        )
    panels[-1].legend(fontsize="small")
    # The same figures give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "study"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def draw_contact_sheet(
    bundle: ModelBundle, data: ChestXray14, targets: list[Target], file: Path, seed: int = 0
) -> None:
    """One drawn radiograph per disease: truth and all boxes, then each step's map and boxes."""
    random = np.random.default_rng(seed)
    chosen = patient_groups(targets)["odd patients"]
    drawn = [
        own[random.integers(len(own))]
        for own in ([t for t in chosen if t.disease == disease] for disease in LOCALIZED)
        if own
    ]
    localizer = Localizer(bundle, Compute("cpu"))
    columns = bundle.manifest.steps + 1
    figure = Figure(figsize=(2.6 * columns, 2.6 * len(drawn)), layout="constrained")
    panels = figure.subplots(len(drawn), columns, squeeze=False)
    for row, target in zip(panels, drawn, strict=True):
        _draw_row(row, target, data.table.loc[target.stem, "file"], localizer)
    figure.savefig(file, dpi=80)


def _draw_row(row: np.ndarray, target: Target, file: Path, localizer: Localizer) -> None:
    radiograph = Radiograph.read(Path(file).read_bytes())
    outputs = localizer.infer(localizer.prepare([radiograph]))
    [localization] = localizer.interpret([radiograph], outputs, policy="off")
    finding = next(f for f in localization.findings if f.disease == target.disease)
    scale = ORIGINAL_SIDE / radiograph.width
    found = [
        ((box.x * scale, box.y * scale, box.width * scale, box.height * scale), box.step)
        for box in finding.boxes
    ]
    for axes in row:
        axes.imshow(radiograph.pixels, cmap="gray", extent=(0, ORIGINAL_SIDE, ORIGINAL_SIDE, 0))
        axes.axis("off")
        _outline(axes, target.boxes, TRUE)
    row[0].set_title(f"{target.disease}, p = {finding.probability:.2f}", fontsize="small")
    _outline(row[0], [box for box, _ in found], FOUND)
    x, y, width, height = field_of(radiograph)
    maps = outputs.step_heatmaps[0, :, DISEASES.index(target.disease)]
    for step, (axes, heatmap) in enumerate(zip(row[1:], maps, strict=True)):
        fine = cv2.resize(heatmap, (128, 128), interpolation=cv2.INTER_LINEAR)
        extent = (x, x + width, y + height, y)
        axes.imshow(fine, cmap="inferno", alpha=0.5, vmin=0, vmax=1, extent=extent)
        axes.set_title(f"step {step}", fontsize="small")
        _outline(axes, [box for box, at in found if at == step], FOUND)


def _outline(axes: Axes, boxes: list[Rectangle], colour: str) -> None:
    for x, y, width, height in boxes:
        axes.add_patch(Outline((x, y), width, height, fill=False, edgecolor=colour))
