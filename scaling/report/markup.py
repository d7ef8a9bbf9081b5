"""HTML built from parts: every plain string is escaped, so nothing from a file can be markup."""

import html
import re


class Html(str):
    """Text that is markup already."""


def element(name: str, *children: str | None, **attributes: str | None) -> Html:
    """`<name attributes>children</name>`, without those that are None.

    In attribute names a trailing `_` is dropped and any other becomes `-`: `class_`, `data_key`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str | None, by: str = "") -> Html:
    return Html(by.join(_text(child) for child in children if child is not None))


def number(text: str) -> Html:
    """A text of `numbers`, its superscripts raised."""
    return Html(re.sub(r"\^\{([^}]*)\}", r"<sup>\1</sup>", html.escape(text)))


def paragraph(*children: str | None, class_: str | None = None) -> Html:
    return element("p", *children, class_=class_)


def items(children: list[str], class_: str | None = None) -> Html | None:
    """A list, or None if there is nothing to list."""
    if not children:
        return None
    return element("ul", *(element("li", child) for child in children), class_=class_)


def link(address: str, text: str) -> Html:
    return element("a", text, href=address, rel="noreferrer")


def section(identifier: str, title: str, *children: str | None) -> Html:
    return element("section", element("h2", title), *children, id=identifier)


def _text(child: str) -> str:
    return child if isinstance(child, Html) else html.escape(str(child))
