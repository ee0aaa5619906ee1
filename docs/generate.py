"""Writes what docs/ and deploy/ take from the code; with `--check`, it only compares.

Tables stand between the lines `<!-- NAME -->` and `<!-- /NAME -->` of a document.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from prometheus_client import Metric
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # Of this checkout, whatever is installed.

from harvesting.shard import REASONS as HARVEST_REASONS  # noqa: E402
from harvesting.tables import SCHEMAS, Table  # noqa: E402
from localization.refusal import REASONS  # noqa: E402
from service.metrics import Metrics  # noqa: E402
from service.problems import CANNOT_BE_LOCALIZED, KINDS  # noqa: E402
from service.settings import Settings  # noqa: E402

RULES = ROOT / "deploy/prometheus/rules"
PROMETHEUS_RULE = ROOT / "deploy/kubernetes/overlays/prometheus-operator/prometheus-rule.yaml"


def settings_table() -> str:
    """Every setting of the service, as an environment variable."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        choices = _choices(field)
        meaning = f"{field.description} {choices}".strip()
        rows.append(f"| `CXR_{name.upper()}` | {meaning} | {_default(field)} |")
    return "\n".join(rows)


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return ", ".join(f"`{choice}`" for choice in get_args(field.annotation)) + "."


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT)
    return "none" if value is None or value == "" else f"`{value}`"


def problems_table() -> str:
    """Every kind of problem: of a request, of the service, and of a radiograph."""
    rows = ["| `type` | status | title |", "|---|---|---|"]
    rows += [
        f"| `/problems/{slug}` | {kind.status} | {kind.title} |" for slug, kind in KINDS.items()
    ]
    others = CANNOT_BE_LOCALIZED
    rows += [
        f"| `/problems/{reason}` | {others.status} | {others.title}: {what} |"
        for reason, what in REASONS.items()
        if reason not in KINDS
    ]
    return "\n".join(rows)


def metrics_table() -> str:
    """Every metric of the service's own, with its labels."""
    metrics = Metrics()
    # Labels are known once there is a series.
    metrics.probabilities.expect("")
    metrics.reference.labels("", "", "", "")
    metrics.refusals.labels("")
    metrics.warnings.labels("")
    metrics.model.info(dict.fromkeys(("name", "version", "provider", "precision"), ""))
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in metrics.registry.collect():
        if family.name.startswith("cxr_"):
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = ", ".join(f"`{label}`" for label in _labels(family))
            name = f"`{family.name}{suffix}`"
            rows.append(f"| {name} | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows)


def _labels(family: Metric) -> list[str]:
    names = (name for sample in family.samples for name in sample.labels)
    return [name for name in dict.fromkeys(names) if name != "le"]


ROWS: dict[Table, str] = {
    "radiographs": "RadiographRow",
    "findings": "FindingRow",
    "disagreements": "DisagreementRow",
}


def harvest_columns_table() -> str:
    """Every column of a harvested data set, with what the rows' code says of it."""
    said = _attribute_docstrings(ROOT / "harvesting/rows.py")
    rows = ["| table | column | type | meaning |", "|---|---|---|---|"]
    for table, row in ROWS.items():
        for column in SCHEMAS[table]:
            meaning = said.get((row, column.name), "")
            kind = str(column.type).replace("child 0, ", "").replace(": ", " ")
            rows.append(f"| {table} | `{column.name}` | `{kind}` | {meaning} |")
    return "\n".join(rows)


def _attribute_docstrings(file: Path) -> dict[tuple[str, str], str]:
    """What stands below each attribute of a file's classes, by class and attribute."""
    found = {}
    classes = (n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef))
    for owner in classes:
        for node, below in zip(owner.body, owner.body[1:], strict=False):
            match node, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[owner.name, name] = " ".join(words.split())
    return found


def harvest_reasons_table() -> str:
    """Why a harvest fails a file, beside the reasons for which a radiograph is refused."""
    rows = ["| reason | meaning |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {what} |" for name, what in HARVEST_REASONS.items())])


def prometheus_rule() -> str:
    """Prometheus' rule files as one resource of the Prometheus operator's."""
    files = sorted(RULES.glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "cxr-localizer"},
        "spec": {"groups": groups},
    }
    written = yaml.safe_dump(resource, sort_keys=False, width=1000, allow_unicode=True)
    return f"# From deploy/prometheus/rules, by scripts/generate.\n{written}"


def with_table(document: str, name: str, table: str) -> str:
    """Put a table between a document's two lines of its name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"no lines `<!-- {name} -->` and `<!-- /{name} -->`")
    return pattern.sub(lambda _: f"{begin}{table}\n{end}", document)


def generated() -> Iterator[tuple[Path, str]]:
    """Each file that takes something from the code, as it should be."""
    for file, marker, table in (
        ("operations.md", "settings", settings_table()),
        ("api.md", "problems", problems_table()),
        ("monitoring.md", "metrics", metrics_table()),
    ):
        path = ROOT / "docs" / file
        yield path, with_table(path.read_text(), marker, table)
    harvesting = ROOT / "docs/harvesting.md"
    text = with_table(harvesting.read_text(), "harvest-columns", harvest_columns_table())
    yield harvesting, with_table(text, "harvest-reasons", harvest_reasons_table())
    yield PROMETHEUS_RULE, prometheus_rule()


def main(arguments: list[str]) -> int:
    """Return the exit status: 1 where `--check` found a file that is not as it should be."""
    stale = [(path, text) for path, text in generated() if path.read_text() != text]
    for path, text in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is stale: run scripts/generate", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
