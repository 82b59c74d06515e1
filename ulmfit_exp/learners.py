"""Where an `export.pkl` made before the packages finds its classes; the code is `method.learners`."""

from .method.learners import BatchFreeEncoder, ConcatPoolClassifier

__all__ = ["BatchFreeEncoder", "ConcatPoolClassifier"]
