"""Power laws whose exponent changes."""

from scaling.laws.forms.grammar import SmoothForm, coefficient, constant, exponent, positive

_LETTERS = {"n_params": "n", "n_tokens": "d", "flops": "c"}


def broken(n_breaks: int, column: str) -> SmoothForm:
    """a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i) with x a column.

    About x = d_i the exponent goes from c0 + ... + c_(i-1) to c0 + ... + c_i, the more suddenly the
    smaller f_i. The c may have either sign. The breaks may come in any order, so a fit with n breaks
    has n! equal optima.
    """
    breaks = range(1, n_breaks + 1)

    def value(p, x, xp):
        p, x = vars(p), vars(x)[column]
        log = -p["c0"] * xp.log(x)
        for i in breaks:  # log(1 + (x/d)^(1/f)) as a sum of exponentials: sharp breaks overflow otherwise
            f = p[f"f{i}"]
            log = log - p[f"c{i}"] * f * xp.logaddexp(0.0, xp.log(x / p[f"d{i}"]) / f)
        return p["a"] + p["b"] * xp.exp(log)

    each = [
        (
            exponent(f"c{i}", -20.0, start=(-1.0, 1.0)),
            positive(f"d{i}", start=(0.2, 5.0), low=1e-6, high=1e6, unit=column),
            positive(f"f{i}", start=(0.05, 1.0), low=1e-3, high=1e2),
        )
        for i in breaks
    ]
    return SmoothForm(
        name=f"broken{n_breaks}_{_LETTERS[column]}",
        source="Caballero et al. 2022 (broken neural scaling laws)",
        formula="a + b x^-c0 " + " ".join(f"(1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in breaks)
                + f", x = {column}",
        free=(constant("a"), coefficient("b", c0=column), exponent("c0", -20.0, start=(-0.5, 1.0)),
              *(p for three in each for p in three)),
        inputs=(column,),
        value=value,
        objective="log_squares",
    )


BROKEN = tuple(broken(n, column) for n in (1, 2) for column in _LETTERS)
