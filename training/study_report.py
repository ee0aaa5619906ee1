"""The study's figures as Markdown tables, for `docs/results.md`."""

from typing import Any

from training.protocol import FREE_RESPONSE_IOU

HEADER = (
    "row",
    "pointing game",
    "mean IoU",
    "Acc at T(IoU) 0.1 / 0.3 / 0.5",
    "AFP at T(IoU) 0.1",
    *(f"Acc at equal AFP, T(IoU) {threshold}" for threshold in FREE_RESPONSE_IOU),
)
COMPARED = (
    "pointing game",
    "mean IoU",
    *(f"Acc at T(IoU) {threshold}, mean of the AFPs" for threshold in FREE_RESPONSE_IOU),
)


def describe(figures: dict[str, Any]) -> str:
    """The tables of what `training.study.run_study` returns."""
    groups = ("odd patients", "all patients")
    return "\n\n".join(
        [
            "**Classification**, the test part that is here\n\n" + _classification(figures),
            *(
                f"**Localization, {group}**\n\n" + _localization(figures["localization"][group])
                for group in groups
            ),
            *(
                f"**Differences to {baseline}**, with 95 % intervals: AUC on the test part, "
                "the rest on odd patients\n\n"
                + _differences(rows, figures["auc differences"][baseline])
                for baseline, rows in figures["differences"]["odd patients"].items()
            ),
        ]
    )


def _classification(figures: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{areas['all']['mean']:.3f}",
            f"{areas['native 1024']['mean']:.3f}" if "native 1024" in areas else "-",
            f"{1000 * figures['seconds'][name]:.1f}",
        ]
        for name, areas in figures["auc"].items()
    ]
    return _table(("row", "mean AUC", "native 1024 px", "ms per radiograph"), rows)


def _localization(scores: dict[str, Any]) -> str:
    return _table(HEADER, [_row(name, **score) for name, score in scores.items()])


def _row(name: str, protocol: dict[str, Any], compared: dict[str, float]) -> list[str]:
    found = [protocol["IoU"][str(threshold)]["accuracy"] for threshold in FREE_RESPONSE_IOU]
    return [
        name,
        f"{compared['pointing game']:.3f}",
        f"{compared['mean IoU']:.3f}",
        " / ".join(f"{share:.3f}" for share in found),
        f"{protocol['IoU']['0.1']['afp']:.2f}",
        *(f"{compared[figure]:.3f}" for figure in COMPARED[2:]),
    ]


def _differences(rows: dict[str, Any], areas: dict[str, Any]) -> str:
    return _table(
        ("row", "mean AUC", *COMPARED),
        [
            [name, _interval(areas[name]), *(_interval(found[figure]) for figure in COMPARED)]
            for name, found in rows.items()
        ],
    )


def _interval(difference: dict[str, float]) -> str:
    low, high = difference["low"], difference["high"]
    value = f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{value}**" if low > 0 or high < 0 else value


def _table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
