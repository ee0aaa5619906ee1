"""The figures of an evaluation as a person reads them, and as a manifest keeps them."""

from typing import Any

from rich.console import Console
from rich.table import Table

from localization import ModelBundle
from localization.bundle import write_manifest
from training.protocol import IOBB, IOU

OVERLAPS = {"IoU": IOU, "IoBB": IOBB}


def print_report(figures: dict[str, Any], console: Console | None = None) -> None:
    """Print the tables of what `training.evaluation.evaluate` returns."""
    # Piped into a file, a table keeps its columns.
    console = console or Console(width=None if Console().is_terminal else 140)
    console.print(_classification(figures))
    for group, methods in figures["localization"].items():
        print_methods(group, methods, console)
    everyone = figures["localization"]["all patients"]
    for overlap, thresholds in OVERLAPS.items():
        console.print(_diseases("The model's", overlap, thresholds, everyone["model"]))
    console.print(_bounds(everyone["grid's upper bound"]))
    if figures["drift"]:
        console.print(_drift(figures["drift"]))
    console.print(
        "The test part that is scored here need not be a random sample of the official test "
        "list: see the model card before comparing."
    )


def print_methods(group: str, methods: dict[str, Any], console: Console) -> None:
    """Print what methods localize of a group of patients: `score_localization`'s, by method."""
    for over in ("all boxes", "mean"):
        for overlap, thresholds in OVERLAPS.items():
            console.print(_methods(group, methods, over, overlap, thresholds))
    console.print(_free_response(group, methods))


def print_harvest(figures: dict[str, Any], console: Console | None = None) -> None:
    """Print the tables of what `training.harvest_scores.score_harvest` returns."""
    console = console or Console(width=None if Console().is_terminal else 140)
    model, here = figures["model"], figures["radiographs"]
    console.print(
        f"Mined by {model['name']} {model['version']}: {here['harvested']} of the {here['boxed']} "
        f"radiographs with official boxes that are here. Boxed and not mined: "
        f"{figures['not_mined']}."
    )
    for group, methods in figures["localization"].items():
        print_methods(group, methods, console)
    mined = figures["localization"]["all patients"]["mined boxes"]
    for overlap, thresholds in OVERLAPS.items():
        console.print(_diseases("The mined boxes'", overlap, thresholds, mined))
    for group, scores in figures["average precision"].items():
        console.print(_average_precision(group, scores))
    console.print("AP is the mean over IoU 0.5, 0.55, ... 0.95; the others are at one IoU each.")


def record_figures(bundle: ModelBundle, figures: dict[str, Any]) -> None:
    """Write the main figures into a bundle's manifest."""
    main = {
        "auc": figures["auc"],
        "localization": {
            group: {over: methods["model"][over] for over in ("all boxes", "mean")}
            for group, methods in figures["localization"].items()
        },
    }
    manifest = bundle.manifest.model_copy(update={"figures": _rounded(main)})
    write_manifest(manifest, bundle.folder)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


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


def _drift(indices: dict[str, float]) -> Table:
    title = "Population stability index of the probabilities, against the manifest's reference"
    table = _table(title, "disease", ["PSI"])
    for disease, index in indices.items():
        table.add_row(disease, f"{index:.2f}")
    return table


def _methods(
    group: str, methods: dict[str, Any], over: str, overlap: str, thresholds: tuple[float, ...]
) -> Table:
    boxes = next(iter(methods.values()))[over]["boxes"]
    averaged = "over all boxes" if over == "all boxes" else "mean over the diseases"
    title = f"{group}, {boxes} boxes, {averaged}: Acc/AFP at T({overlap})"
    table = _table(title, "method", ["pointing", "mean IoU", *(f"T {t}" for t in thresholds)])
    for name, scores in methods.items():
        table.add_row(name, *_row(scores[over], overlap))
    return table


def _free_response(group: str, methods: dict[str, Any]) -> Table:
    title = f"{group}, mean over the diseases: Acc at equal AFP, boxes by the model's own cuts"
    curves = next(iter(methods.values()))["mean"]["free response"]
    columns = [f"T(IoU) {t}, AFP {afp}" for t, shares in curves.items() for afp in shares]
    table = _table(title, "method", columns)
    for name, scores in methods.items():
        shares = scores["mean"]["free response"].values()
        table.add_row(name, *(f"{found:.3f}" for each in shares for found in each.values()))
    return table


def _row(score: dict[str, Any], overlap: str) -> list[str]:
    own = [f"{score['pointing game']:.3f}", f"{score['mean IoU']:.3f}"]
    return [*own, *(_accuracy_afp(found) for found in score[overlap].values())]


def _accuracy_afp(found: dict[str, float]) -> str:
    return f"{found['accuracy']:.3f}/{found['afp']:.2f}"


def _diseases(
    whose: str, overlap: str, thresholds: tuple[float, ...], scores: dict[str, Any]
) -> Table:
    columns = ["boxes", "pointing", "mean IoU", *(f"T {t}" for t in thresholds)]
    table = _table(f"{whose} Acc/AFP at T({overlap}), all patients", "disease", columns)
    for disease, score in scores.items():
        table.add_row(disease, str(score["boxes"]), *_row(score, overlap))
    return table


def _average_precision(group: str, scores: dict[str, Any]) -> Table:
    figures = [name for name in scores["mean"] if name != "boxes"]
    title = f"{group}: COCO's average precision of the mined boxes"
    table = _table(title, "disease", ["boxes", *figures])
    for disease, score in scores.items():
        table.add_row(disease, str(score["boxes"]), *(f"{score[name]:.3f}" for name in figures))
    return table


def _bounds(scores: dict[str, Any]) -> Table:
    columns = ["pointing", "mean IoU", *(f"T {t}" for t in IOU)]
    title = "The grid's upper bound, a map that knows the truth: Acc at T(IoU), all patients"
    table = _table(title, "disease", columns)
    for disease, score in scores.items():
        own = (score["pointing game"], score["mean IoU"])
        found = (each["accuracy"] for each in score["IoU"].values())
        table.add_row(disease, *(f"{value:.3f}" for value in (*own, *found)))
    return table
