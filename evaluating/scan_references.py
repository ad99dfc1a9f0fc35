"""Published errors on scans, each under the protocol and data that it was published with; millimetres.

The figures are those of public leader boards' and repositories' copies.
"""

NOW = (
    ("DenseLandmarks", 1.02, 1.28, 1.08),
    ("DECA", 1.09, 1.38, 1.18),
    ("Deep3D (PyTorch)", 1.11, 1.41, 1.21),
    ("3DDFA_V2", 1.23, 1.57, 1.39),
    ("PRNet", 1.50, 1.98, 1.88),
)
"""Median, mean, deviation on NoW's test set, not metric."""

MICC = (("Deep3D (Deng et al., CVPRW 2019)", 1.53),)
"""Root mean square, MICC Florence."""

REALY = (("3DDFA_V3", 1.436, 1.442), ("SADRNet", 1.91, 1.96))
"""Front and side, REALY, whose region-wise protocol none of this project's is."""


def reference_rows(protocol: str, metric: bool) -> list[str]:
    """Published rows to be read beside a table, as Markdown; they hold for their own data sets only."""
    if metric or protocol not in ("now", "micc"):
        return []
    if protocol == "now":
        lines = ["## Published, NoW's test set (not metric; they compare with numbers of that set only)", ""]
        lines += ["| method | median | mean | deviation |", "| --- | ---: | ---: | ---: |"]
        return [*lines, *(f"| {name} | {a:.2f} | {b:.2f} | {c:.2f} |" for name, a, b, c in NOW), ""]
    lines = ["## Published, MICC Florence (they compare with numbers of that set only)", ""]
    lines += ["| method | root mean square |", "| --- | ---: |"]
    return [*lines, *(f"| {name} | {error:.2f} |" for name, error in MICC), ""]
