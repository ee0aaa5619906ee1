"""The figures of an evaluation as a person reads them, and as a manifest keeps them."""

from typing import Any

from rich.console import Console
from rich.table import Table

from localization import ModelBundle
from localization.bundle import MANIFEST
from training.evaluation import IOBB, IOU


def print_report(figures: dict[str, Any], console: Console | None = None) -> None:
    """Print the tables of what `training.evaluation.evaluate` returns."""
    # Piped into a file, a table keeps its columns.
    console = console or Console(width=None if Console().is_terminal else 140)
    console.print(_classification(figures))
    for group, methods in figures["localization"].items():
        console.print(_methods(group, methods))
    everyone = figures["localization"]["all patients"]["model"]
    console.print(_diseases("IoU", IOU, everyone), _diseases("IoBB", IOBB, everyone))
    console.print(
        "The test part that is scored here need not be a random sample of the official test "
        "list: see the model card before comparing."
    )


def record_figures(bundle: ModelBundle, figures: dict[str, Any]) -> None:
    """Write the main figures into a bundle's manifest."""
    main = {
        "auc": {group: areas["mean"] for group, areas in figures["auc"].items()},
        "localization": {
            group: {
                "pointing game": methods["model"]["mean"]["pointing game"],
                "mean IoU": methods["model"]["mean"]["mean IoU"],
            }
            for group, methods in figures["localization"].items()
        },
    }
    manifest = bundle.manifest.model_copy(update={"figures": _rounded(main)})
    (bundle.folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 4)


def _table(title: str, first: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _classification(figures: dict[str, Any]) -> Table:
    areas = figures["auc"]
    model = figures["model"]
    title = f"AUC of {model['name']} {model['version']}, {figures['radiographs']} test radiographs"
    table = _table(title, "disease", list(areas))
    for disease in areas["all"]:
        values = [areas[group][disease] for group in areas]
        table.add_row(disease, *("-" if v is None else f"{v:.3f}" for v in values))
    return table


def _methods(group: str, methods: dict[str, Any]) -> Table:
    boxes = methods["model"]["mean"]["boxes"]
    columns = ["pointing", "mean IoU", *(f"IoU {t}" for t in IOU), *(f"IoBB {t}" for t in IOBB)]
    title = f"Localization of {group}, {boxes} boxes: mean over the diseases; Acc at T"
    table = _table(title, "method", columns)
    for name, scores in methods.items():
        mean = scores["mean"]
        found = [*mean["IoU"].values(), *mean["IoBB"].values()]
        values = [mean["pointing game"], mean["mean IoU"], *(f["accuracy"] for f in found)]
        table.add_row(name, *(f"{value:.3f}" for value in values))
    return table


def _diseases(overlap: str, thresholds: tuple[float, ...], scores: dict[str, Any]) -> Table:
    columns = ["boxes", "pointing", "mean IoU", *(f"T {t}" for t in thresholds)]
    table = _table(f"The model's Acc/AFP at T({overlap}), all patients", "disease", columns)
    for disease, score in scores.items():
        found = [f"{f['accuracy']:.3f}/{f['afp']:.3f}" for f in score[overlap].values()]
        own = [str(score["boxes"]), f"{score['pointing game']:.3f}", f"{score['mean IoU']:.3f}"]
        table.add_row(disease, *own, *found)
    return table
