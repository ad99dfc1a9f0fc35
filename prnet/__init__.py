"""3D faces from single photos by UV position maps (PRNet, Feng et al., ECCV 2018), in Keras 3."""

from pathlib import Path

__version__ = "1.0.0"

_CHECKOUT = Path(__file__).resolve().parents[1]
if (_CHECKOUT / "configure" / "config.py").is_file():  # installed, the folders beside this one lie within it
    __path__ = [*__path__, str(_CHECKOUT)]
