"""Where an `export.pkl` made before the packages finds its classes; the code is `method.encoder`."""

from .method.encoder import BatchFreeEncoder, ConcatPoolClassifier

__all__ = ["BatchFreeEncoder", "ConcatPoolClassifier"]
