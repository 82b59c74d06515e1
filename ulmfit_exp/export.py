"""Where an `export.pkl` made before the packages finds its classes; the code is `inference.export`."""

from .inference.export import Ensemble, Words

__all__ = ["Ensemble", "Words"]
