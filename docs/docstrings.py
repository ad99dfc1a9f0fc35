"""Docstrings in this project's form as Markdown, for the API reference.

`name : meaning.` becomes an item of a list; examples (`>>> ...`) become code.
"""

import re

import griffe

PARAMETERS = re.compile(r"(?:(?<=\.[ \n])|(?<=\n)|^)(\w+(?:,\s\w+)*|\.\w+(?: \([^)]*\))?(?:, \.\w+)*) :\s")
AFTER = re.compile(r"(?<=\.)\s(?=Returns |Raises |Emits )")


class AsMarkdown(griffe.Extension):
    def on_instance(self, *, obj, **_):
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    return "\n\n".join(map(_block, docstring.strip().split("\n\n")))


def _block(text: str) -> str:
    if text.startswith(">>> "):
        return f"```pycon\n{text}\n```"
    if text.startswith(("|", "-", " ")):
        return text
    lead, *parts = PARAMETERS.split(re.sub(r"\n\s*", "\n", text))
    if not parts:
        return text
    parts[-1], *after = AFTER.split(parts[-1], maxsplit=1)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    items = [f"- `{' '.join(names.split())}`: {meaning.strip()}" for names, meaning in pairs]
    return "\n\n".join(filter(None, [lead.strip(), "\n".join(items), *after]))
