"""Gin at the edge: a `.gin` file and bindings go in, a frozen dataclass comes out.

Gin binds data only. What Gin itself lets pass is caught here: unknown names (with the nearest valid
one), undefined macros, and bindings that configure nothing.
"""

import dataclasses
import functools
import os
import pathlib
import re
import threading
import tokenize
from collections.abc import Sequence
from typing import Any

import gin
from gin import config as gin_internals
from gin import config_parser

from scaling.config import Config, configs_dir, did_you_mean
from scaling.data.config import DataConfig, TokenizerConfig
from scaling.data.corpus_config import ComponentConfig, CorpusConfig, MixtureConfig, TfdsConfig
from scaling.errors import UserError
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from scaling.objectives import NoiseConfig
from scaling.optim import OPTIMIZERS, ScheduleConfig, SpikeConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.sweeps.ladder import DERIVED_FIELDS, Ladder
from scaling.sweeps.launchers.engines import ENGINES
from scaling.sweeps.study import IsoFlop, Study
from scaling.sweeps.transferred import TransferredRules
from scaling.transfer.study import Proxies, TransferStudy

CONFIGURABLES: dict[str, type[Config]] = {
    cls.__name__: cls
    for cls in (
        *OPTIMIZERS,
        *ENGINES.values(),
        ComponentConfig,
        CorpusConfig,
        DataConfig,
        DecoderConfig,
        EncoderConfig,
        EncoderDecoderConfig,
        EvaluationConfig,
        Experiment,
        IsoFlop,
        Ladder,
        MixtureConfig,
        NoiseConfig,
        ParametrizationConfig,
        Proxies,
        ScheduleConfig,
        SpikeConfig,
        Study,
        TfdsConfig,
        TokenizerConfig,
        TransferStudy,
        TransferredRules,
    )
}

_lock = threading.Lock()  # Gin's configuration is global to the process


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A config and where its values came from.

    sources: "Class.field" -> "file:line", for what was bound; all else is a Python default.
    """

    config: Any
    sources: dict[str, str]


def load_experiment(path: str, bindings: Sequence[str] = ()) -> Loaded:
    """Builds the `Experiment` that a gin file describes. Raises `UserError`."""
    return _load(path, bindings, Experiment)


def load_study(path: str, bindings: Sequence[str] = ()) -> Loaded:
    """Builds the `Study` that a gin file describes. Raises `UserError`.

    A value that the ladder derives and the file binds would configure nothing: an error.
    """
    loaded = _load(path, bindings, Study)
    for name in DERIVED_FIELDS:
        if name in loaded.sources:
            raise UserError(
                f"{loaded.sources[name]}: {name} configures nothing in a study: the ladder derives"
                " it; bind a field of Ladder or IsoFlop instead"
            )
    return loaded


def load_transfer_study(path: str, bindings: Sequence[str] = ()) -> Loaded:
    """Builds the `TransferStudy` that a gin file describes. Raises `UserError`."""
    return _load(path, bindings, TransferStudy)


def load_engine(path: str, engine: type[Config]) -> Loaded:
    """Builds a launcher's config, of the class `engine`, that a gin file describes. Raises `UserError`."""
    return _load(path, (), engine)


def describes_study(path: str) -> bool:
    """Whether a gin file binds a `Study` (else it is taken for an experiment)."""
    with _lock:
        return any(key.startswith("Study.") for key in _parsed(path, ()).sources)


@dataclasses.dataclass
class _Parsed:
    bindings: dict[tuple[str, str, str], str]  # (scope, class or macro, field or "value") -> where
    sources: dict[str, str]


def _load(path: str, bindings: Sequence[str], root: type[Config]) -> Loaded:
    with _lock:
        _register()
        gin.clear_config()
        try:
            parsed = _parsed(path, bindings, bind=True)
            _check_macros(parsed)
            try:
                config = gin.get_configurable(root)()
            except UserError as error:
                raise UserError(_located(_innermost(error), parsed.sources)) from None
            except RecursionError:
                raise UserError(f"{path}: a macro or a reference leads back to itself") from None
            except TypeError as error:
                raise UserError(f"{path}: {_missing(error, root)}") from None
            _check_used(parsed)
        finally:
            gin.clear_config()
    return Loaded(config, parsed.sources)


@functools.cache
def _register() -> None:
    for cls in CONFIGURABLES.values():
        gin.external_configurable(cls, name=cls.__name__, module="scaling")


def _parsed(path: str, bindings: Sequence[str], bind: bool = False) -> _Parsed:
    parsed = _Parsed({}, {})
    _register()
    _parse(_read(path, None), str(path), parsed, bind, ())
    for number, text in enumerate(bindings, 1):
        if "=" not in text:
            raise UserError(f"-b {text!r}: expected Class.field=value")
        _parse(text, f"binding {number}", parsed, bind, ())
    return parsed


def _read(name: str, included_from: str | None) -> str:
    """Text of a gin file, looked for as given and then under `configs/`."""
    where = f" (included from {included_from})" if included_from else ""
    for candidate in (pathlib.Path(name), configs_dir() / name):
        if candidate.is_file():
            try:
                return candidate.read_text(encoding="utf-8")
            except (UnicodeDecodeError, PermissionError) as error:
                raise UserError(f"{candidate}{where}: cannot be read as text: {error}") from None
    shipped = sorted(str(p.relative_to(configs_dir())) for p in configs_dir().rglob("*.gin"))
    raise UserError(
        f"no config file {name!r}{where}, neither here nor under configs/"
        + did_you_mean(os.path.basename(name), shipped)
    )


def _parse(text: str, where: str, parsed: _Parsed, bind: bool, chain: tuple[str, ...]) -> None:
    delegate = gin_internals.ParserDelegate(skip_unknown=False)
    statements = config_parser.ConfigParser(text, delegate)
    with gin_internals._parse_scope():
        while True:
            try:
                statement = next(statements)
            except StopIteration:
                return
            except (SyntaxError, ValueError, tokenize.TokenError) as error:
                raise UserError(f"{where}: {_parser_message(error)}") from None
            if isinstance(statement, config_parser.IncludeStatement):
                if statement.filename in chain:
                    raise UserError(f"{where}: {statement.filename} includes itself")
                inner = (*chain, statement.filename)
                _parse(_read(statement.filename, where), statement.filename, parsed, bind, inner)
            elif isinstance(statement, config_parser.ImportStatement):
                raise UserError(f"{where}:{statement.location.line_num}: a config imports nothing")
            elif isinstance(statement, config_parser.BindingStatement):
                _bind(statement, where, parsed, bind)


def _bind(
    statement: config_parser.BindingStatement, where: str, parsed: _Parsed, bind: bool
) -> None:
    scope, selector, field = statement.scope, statement.selector, statement.arg_name
    line = statement.location.line_num if statement.location else 1
    at = where if where.startswith("binding ") else f"{where}:{line}"
    if not field:  # a macro
        macro = f"{scope}/{selector}" if scope else selector
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", macro):
            raise UserError(
                f"{at}: {macro!r} is neither Class.field nor a macro (macros are UPPER_CASE)"
            )
        parsed.bindings[(macro, "gin.macro", "value")] = at
        if bind:
            gin.bind_parameter((macro, "gin.macro", "value"), statement.value)
        return
    selector = selector.removeprefix("scaling.")
    if selector not in CONFIGURABLES:
        raise UserError(f"{at}: no class {selector!r}{did_you_mean(selector, CONFIGURABLES)}")
    fields = [f.name for f in dataclasses.fields(CONFIGURABLES[selector])]
    if field not in fields:
        raise UserError(f"{at}: {selector} has no field {field!r}{did_you_mean(field, fields)}")
    parsed.bindings[(scope, f"scaling.{selector}", field)] = at
    parsed.sources[f"{selector}.{field}"] = at
    if bind:
        gin.bind_parameter((scope, f"scaling.{selector}", field), statement.value)


def _check_macros(parsed: _Parsed) -> None:
    defined = {scope for scope, selector, _ in parsed.bindings if selector == "gin.macro"}
    for reference in gin_internals.iterate_references(gin_internals._CONFIG):
        if reference.selector == "gin.macro" and reference.scopes[-1] not in defined:
            name = reference.scopes[-1]
            hint = did_you_mean(name, defined) if defined else "; no macro is defined"
            raise UserError(f"the macro %{name} is not defined{hint}")


def _check_used(parsed: _Parsed) -> None:
    """Refuses a binding that no object took; of several, Gin takes the one of the nearest scope."""
    taken, applied = set(), set()
    for (scope, selector), fields in gin_internals._OPERATIVE_CONFIG.items():
        scopes = [scope[: m.start()] for m in re.finditer("/|$", scope)] if scope else []
        for field in fields:
            applied.add((selector, field))
            keys = [(within, selector, field) for within in (*reversed(scopes), "")]
            key = next((key for key in keys if key in parsed.bindings), None)
            if key is not None:
                taken.add(key)
                if selector != "gin.macro":
                    name = selector.removeprefix("scaling.")
                    parsed.sources[f"{name}.{field}"] = parsed.bindings[key]
    for key, at in parsed.bindings.items():
        if key not in taken:
            scope, selector, field = key
            name = f"{scope}/{selector.removeprefix('scaling.')}.{field}".lstrip("/")
            full = scope if selector == "gin.macro" else name
            shadowed = not scope and (selector, field) in applied
            why = "a scope overrides it" if shadowed else "nothing refers to it"
            raise UserError(f"{at}: {full} configures nothing: {why}")


def _innermost(error: BaseException) -> str:
    """The message before Gin wrapped it with its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).split("\n")[0]


def _located(message: str, sources: dict[str, str]) -> str:
    """Puts the place of the binding before a message that starts with its `Class.field`."""
    match = re.match(r"\w+\.\w+", message)
    at = sources.get(match[0]) if match else None
    return f"{at}: {message}" if at else message


def _missing(error: TypeError, root: type[Config]) -> str:
    text = _innermost(error)
    match = re.search(r"(\w+)\.__init__\(\) missing .*?: (.*)", text)
    if not match:
        return text
    fields = re.findall(r"'(\w+)'", match[2])
    owner = match[1] if match[1] in CONFIGURABLES else root.__name__
    return "not bound, and without a default: " + ", ".join(f"{owner}.{f}" for f in fields)


def _parser_message(error: Exception) -> str:
    """The first lines of Gin's syntax error, as one."""
    if isinstance(error, tokenize.TokenError):
        return f"syntax error: {error.args[0]}"
    reference = re.search(r"matching reference '@([\w/.]+?)(\(\))?'", str(error))
    if reference:
        return f"no class {reference[1]!r}{did_you_mean(reference[1], CONFIGURABLES)}"
    value = re.search(r"Failed to parse token '(.*)' \(line (\d+)\)", str(error))
    if value:
        return f"cannot read the value {value[1]} (line {value[2]}); a string wants quotes"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])
