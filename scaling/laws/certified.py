"""The certificate of a fitted law: whether any other parameters could fit better."""

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.certificate import Certificate, certify
from scaling.laws.forms.grammar import SumOfPowers
from scaling.laws.law_fit import LawFit, columns_of


def certify_fit(law: LawFit, most_seconds: float = 120.0, **options) -> Certificate:
    """Branch and bound over the exponents of E + A/x^a [+ B/y^b + ...], see `certify`.

    Raises `UserError` for laws of another shape, and for objectives of raw residuals.
    """
    point, form = law.point, law.form
    powers = [t.powers for t in form.terms if t.powers] if isinstance(form, SumOfPowers) else []
    names = [name for own in powers for name, _ in own]
    if (not powers or form.fixed or any(len(own) != 1 for own in powers) or len(set(names)) < len(names)
            or len(powers) != len(form.terms) - 1):
        raise UserError(f"--certify is for laws like E + A/N^alpha + B/D^beta, with an exponent of its own"
                        f" in each term; {form.name} is {form.formula}")
    if point.loss.raw or np.ndim(point.problem.scale):
        raise UserError("--certify is for objectives of log residuals (huber_log, log_squares), without"
                        " standard errors by point")
    problem = point.problem
    columns = columns_of(form, law.runs)
    logs = [np.log(columns[own[0][1]]) for own in powers]
    return certify(logs, problem.log_target[0], problem.weights[0],
                   point.loss.delta, point.objective, most_seconds=most_seconds, **options)


def certificate_line(certificate: Certificate) -> str:
    low, high = certificate.box[0]
    work = f"{certificate.boxes:,} boxes, {certificate.seconds:.1f} s"
    if certificate.counterexample is not None:
        return (f"certificate: NOT the optimum: {certificate.counterexample['objective']:.10g} is lower"
                f" ({work}); please report it")
    if not certificate.certified:
        return (f"certificate: not finished: no parameters are more than {certificate.gap:.3%} below"
                f" ({work})")
    return (f"certificate: no parameters with exponents in [{low:g}, {high:g}] have an objective more than"
            f" {certificate.gap:.3%} lower ({work})")
