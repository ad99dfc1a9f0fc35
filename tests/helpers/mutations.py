"""Small errors planted into code by its syntax tree: neither the layout of the source nor the names in it matter.

A pattern is an expression, a statement or, written `name=value`, a keyword argument. It fits code of the same
structure whatever its variables, functions and attributes of `self` are called: each name of the pattern stands for one
name of the code, the same wherever it occurs. Attributes of other objects, keywords and constants are the pattern's.
"""

import ast
import copy
import re


def parse(text: str) -> ast.AST:
    """The keyword argument, expression or statement that a text is."""
    if re.match(r"\w+=[^=]", text):
        return ast.parse(f"call({text})", mode="eval").body.keywords[0]
    (node,) = ast.parse(text).body
    return node.value if isinstance(node, ast.Expr) else node


def plant(source: str, pattern: str, planted: str) -> str:
    """The source with `planted` where the pattern fits, in the code's own names; ValueError unless it fits once."""
    tree = ast.parse(source)
    found = [(node, names) for node in ast.walk(tree) if (names := fit(parse(pattern), node)) is not None]
    if len(found) != 1:
        raise ValueError(f"fits {len(found)} times: {pattern}")
    ((place, names),) = found
    return ast.unparse(ast.fix_missing_locations(_Replace(place, _renamed(parse(planted), names)).visit(tree)))


def fit(pattern: ast.AST, node: ast.AST) -> dict[str, str] | None:
    """What each name of the pattern is called in the code, or None where it does not fit."""
    names: dict[str, str] = {}
    same = _fits(pattern, node, names) and len(set(names.values())) == len(names)
    return names if same else None


def _fits(pattern, node, names: dict[str, str]) -> bool:
    if isinstance(pattern, list):
        pairs = zip(pattern, node, strict=True) if isinstance(node, list) and len(node) == len(pattern) else [(0, 1)]
        return all(_fits(one, other, names) for one, other in pairs)
    if not isinstance(pattern, ast.AST):
        return type(pattern) is type(node) and pattern == node
    if _is_name(pattern) and _is_name(node):
        return names.setdefault(_name(pattern), _name(node)) == _name(node)
    return type(pattern) is type(node) and all(
        _fits(getattr(pattern, field), getattr(node, field), names)
        for field in pattern._fields
        if field not in ("ctx", "type_comment")
    )


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) or _is_own_attribute(node)


def _is_own_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _name(node) -> str:
    return node.id if isinstance(node, ast.Name) else f"self.{node.attr}"


def _renamed(node: ast.AST, names: dict[str, str]) -> ast.AST:
    class Rename(ast.NodeTransformer):
        def generic_visit(self, node):
            if not _is_name(node):
                return super().generic_visit(node)
            return ast.parse(names.get(_name(node), _name(node)), mode="eval").body

    return Rename().visit(copy.deepcopy(node))


class _Replace(ast.NodeTransformer):
    def __init__(self, place: ast.AST, planted: ast.AST):
        self._place, self._planted = place, planted

    def visit(self, node: ast.AST) -> ast.AST:
        return self._planted if node is self._place else super().visit(node)
