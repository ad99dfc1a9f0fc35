"""Pictures and videos that say of themselves that they are synthetic: in their metadata, and where they are shown."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prnet.common.files import atomic_write

NOTICE = "Synthetic: a face in this picture was changed by prnet."

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""IPTC's term for a composite of which at least one element is synthetic (Digital Source Type, NewsCodes)."""

XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{NOTICE}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

PANEL_HEIGHT, CAPTION = 480, 34
"""Of the sheet, in pixels."""

PAPER, INK = (250, 250, 250), (40, 40, 40)


def write_synthetic(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB as `.png` or `.jpg`, with the notice in its metadata (XMP, PNG text)."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(synthetic_bytes(picture, path.suffix.lower()))


def synthetic_bytes(picture: np.ndarray, suffix: str) -> bytes:
    """The picture's file. suffix : ".png", ".jpg" or ".jpeg"."""
    from PIL import Image, PngImagePlugin

    with io.BytesIO() as file:
        if suffix == ".png":
            notes = PngImagePlugin.PngInfo()
            notes.add_itxt("XML:com.adobe.xmp", XMP)
            notes.add_text("Comment", NOTICE)
            Image.fromarray(picture).save(file, "PNG", pnginfo=notes)
        else:
            Image.fromarray(picture).save(file, "JPEG", quality=95, xmp=XMP.encode(), comment=NOTICE)
        return file.getvalue()


def synthetic_sheet(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures side by side under their captions, of which the last is marked as synthetic: (., ., 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    scaled = [(title, Image.fromarray(picture)) for title, picture in panels]
    widths = [max(round(picture.width * PANEL_HEIGHT / picture.height), 1) for _, picture in scaled]
    sheet = Image.new("RGB", (sum(widths) + 12 * (len(widths) + 1), PANEL_HEIGHT + CAPTION + 12), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    left = 12
    for (title, picture), width in zip(scaled, widths, strict=True):
        sheet.paste(picture.resize((width, PANEL_HEIGHT)), (left, CAPTION))
        pen.text((left, CAPTION / 2), title, INK, font, anchor="lm")
        left += width + 12
    return np.asarray(sheet)


def labelled(picture: np.ndarray) -> np.ndarray:
    """The picture with the word "synthetic" in its lower left corner. A new picture."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(max(picture.shape[0] // 28, 9))
    place = (picture.shape[0] // 40, picture.shape[0] - picture.shape[0] // 40)
    pen.text(place, "synthetic", PAPER, font, anchor="ls", stroke_width=1, stroke_fill=INK)
    return np.asarray(image)
