"""The library of laws: `FORMS`, by name. To add one: a `Form` in a file here, and its line below."""

from scaling.laws.forms.broken import BROKEN
from scaling.laws.forms.chinchilla import CHINCHILLA, CHINCHILLA_GAMMA, CHINCHILLA_SHARED
from scaling.laws.forms.data_constrained import DATA_CONSTRAINED
from scaling.laws.forms.experts import MOE_JOINT, MOE_SPARSITY, ROUTED
from scaling.laws.forms.grammar import Form
from scaling.laws.forms.hyperparameters import (
    CRITICAL_BATCH_OF_LOSS,
    CRITICAL_BATCH_OF_STEPS,
    CRITICAL_BATCH_OF_TOKENS,
    DEEPSEEK_BATCH,
    DEEPSEEK_LEARNING_RATE,
    STEP_BATCH,
    STEP_LEARNING_RATE,
)
from scaling.laws.forms.interaction import FARSEER, KAPLAN_JOINT
from scaling.laws.forms.overtraining import OVERTRAINING
from scaling.laws.forms.power import HESTNESS, KAPLAN
from scaling.laws.forms.precision import PRECISION, PRECISION_WEIGHTS, QUANTIZATION
from scaling.laws.forms.schedule import ANNEALING
from scaling.laws.forms.shape import WIDTH_DEPTH, WIDTH_DEPTH_PARAMS
from scaling.laws.forms.task_error import EXPONENTIAL, SIGMOID

_ALL: tuple[Form, ...] = (
    CHINCHILLA,
    CHINCHILLA_SHARED,
    CHINCHILLA_GAMMA,
    KAPLAN_JOINT,
    FARSEER,
    OVERTRAINING,
    *KAPLAN,
    *HESTNESS,
    DATA_CONSTRAINED,
    WIDTH_DEPTH,
    WIDTH_DEPTH_PARAMS,
    *BROKEN,
    ROUTED,
    MOE_SPARSITY,
    MOE_JOINT,
    PRECISION_WEIGHTS,
    PRECISION,
    QUANTIZATION,
    EXPONENTIAL,
    SIGMOID,
    ANNEALING,
    STEP_LEARNING_RATE,
    STEP_BATCH,
    DEEPSEEK_LEARNING_RATE,
    DEEPSEEK_BATCH,
    CRITICAL_BATCH_OF_LOSS,
    CRITICAL_BATCH_OF_STEPS,
    CRITICAL_BATCH_OF_TOKENS,
)

FORMS: dict[str, Form] = {form.name: form for form in _ALL}


def describe(form: Form) -> dict:
    """What a list of laws shows: name, formula, target, columns, parameters, source, as plain data."""
    return {
        "law": form.name,
        "target": form.target,
        "formula": form.formula,
        "columns": list(form.columns),
        "params": list(form.names),
        "source": form.source,
    }
