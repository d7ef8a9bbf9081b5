"""The library of laws: `FORMS`, by name."""

from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.forms.grammar import Form

_ALL: tuple[Form, ...] = (CHINCHILLA,)

FORMS: dict[str, Form] = {form.name: form for form in _ALL}
