"""Where the numbers come from: data, recipe, software, machine."""

import json
from collections import Counter
from collections.abc import Iterable

from scaling.report.analysis import Analysis
from scaling.report.markup import Html, element, number, section
from scaling.report.numbers import count, duration, scientific
from scaling.report.tables import key_values


def provenance_section(analysis: Analysis) -> Html:
    folder = analysis.folder
    records, plan = folder.records, folder.plan
    data = [r.data or {} for r in records]
    versions = Counter(
        ", ".join(f"{name} {version}" for name, version in sorted(r.versions.items()))
        for r in records
    )
    planned = [line.get("train_flops", {}).get(folder.flops_convention) for line in plan]
    expected = [line.get("expected_seconds") for line in plan]
    facts = [
        ("corpus", _distinct(d.get("corpus") for d in data)),
        ("content hash", element("code", _distinct(d.get("content_hash") for d in data))),
        ("learning rate", number(_learning_rate(folder.study))),
        ("seeds", _distinct(r.seed for r in records)),
        ("plan", number(f"{len(plan)} runs, {scientific(_total(planned))} FLOPs,"
                        f" {count(_total([line.get('n_tokens') for line in plan]))} tokens,"
                        f" expected {duration(_total(expected))} of training")),
        ("measured", f"{len(records)} runs, {duration(_total([r.wall_seconds for r in records]))}"
                     f" of wall time summed over runs, of which"
                     f" {duration(_total([r.compile_seconds for r in records]))} compiling"),
        ("finished", _span([r.finished_at for r in records])),
        ("device", _distinct(r.device for r in records)),
        ("mesh", _distinct(_mesh(r.mesh) for r in records)),
        ("commit", element("code", _distinct(r.commit for r in records))),
        ("versions", "; ".join(versions) or "–"),
    ]
    return section(
        "provenance", "Provenance", key_values(facts),
        element("details", element("summary", "The study as planned"),
                element("pre", json.dumps(folder.study, indent=1))) if folder.study else None,
    )


def _learning_rate(study: dict) -> str:
    ladder, base = study.get("ladder") or {}, study.get("base") or {}
    rate, power = ladder.get("learning_rate"), ladder.get("horizon_exponent")
    if not isinstance(rate, (int, float)) or not isinstance(power, (int, float)):
        return "–"
    rule = base.get("parametrization") or {}
    text = f"{rate:g} × (steps / 1000)^{{−{power:g}}} for hidden matrices"
    if rule.get("name"):
        text += f", {rule['name']} from width {rule.get('base_d_model')}"
    roles = [f"{role} × {rule[f'{role}_lr']:g}" for role in ("embedding", "unembedding", "vector")
             if isinstance(rule.get(f"{role}_lr"), (int, float))]
    schedule = base.get("schedule") or {}
    if schedule.get("shape"):
        roles.append(f"schedule {schedule['shape']}")
    return "; ".join([text, *roles])


def _distinct(values: Iterable) -> str:
    """Each different value once; how often, where there are several."""
    counts = Counter(str(v) for v in values if v is not None)
    if not counts:
        return "–"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({n} runs)" for value, n in sorted(counts.items()))


def _total(values: list) -> float | None:
    numbers = [v for v in values if isinstance(v, (int, float))]
    return sum(numbers) if numbers else None


def _span(times: list[str]) -> str:
    return f"{min(times)} to {max(times)}" if times else "–"


def _mesh(mesh: dict | None) -> str | None:
    return " × ".join(f"{axis} {size}" for axis, size in mesh.items()) if mesh else None
