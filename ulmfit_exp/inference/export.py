"""fastai Learners of a finished run: with both directions for `export.pkl`, or with one direction and its texts."""

from itertools import chain

import numpy as np
import pandas as pd
import torch
from fastai.text.all import (
    Categorize,
    Category,
    ColReader,
    DataLoaders,
    Datasets,
    L,
    Learner,
    MultiCategorize,
    MultiCategory,
    Numericalize,
    OneHotEncode,
    Pad_Chunk,
    SortedDL,
    TensorCategory,
    TensorMultiCategory,
    TensorText,
    TextLearner,
    TitledStr,
    Transform,
    dispatch,
    display_df,
    get_empty_df,
)
from fastai.text.models.awdlstm import awd_lstm_clas_split

from ..common import DataError
from ..corpora.corpus import Corpus
from ..corpora.multilabel import join_labels, split_labels
from ..method import learners
from ..method.batches import without_single
from ..method.machine import use_device
from ..method.tokenizer import PAD_ID, words
from .predict import Predictor
from .scores import apply_temperature


class Words(Transform):
    """Transform of a text into its tokens."""

    lang = "en"  # for learners pickled before this was a setting

    def __init__(self, lang: str):
        self.lang = lang

    def encodes(self, text: str):
        return words(text, self.lang)

    def decodes(self, tokens: L):
        return TitledStr(" ".join(tokens))


class Backwards(Transform):
    """Transform that reverses token ids; `decodes` restores the order of the text to show it."""

    def encodes(self, ids: TensorText):
        return ids.flip(0)

    def decodes(self, ids: TensorText):
        return ids.flip(0)


class Ensemble(torch.nn.Module):
    """Combines a run's classifiers: returns the logits of their mean probabilities at the run's temperature."""

    several = False  # for models pickled before texts could have several labels

    def __init__(self, parts: dict[str, torch.nn.Module], temperature: float, several: bool):
        super().__init__()
        self.directions, self.temperature, self.several = tuple(parts), temperature, several
        self.models = torch.nn.ModuleList(parts.values())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids `bs x len`, padded at the end -> `bs x classes`."""
        ids, place = ids.as_subclass(torch.Tensor), torch.arange(ids.size(1), device=ids.device)
        last = (ids != PAD_ID).sum(dim=1, keepdim=True) - 1
        turned = {"forward": ids, "backward": ids.gather(1, torch.where(place <= last, last - place, place))}
        logits = [model(turned[d])[0].double() for d, model in zip(self.directions, self.models)]
        if self.several:
            return (sum(x.sigmoid() for x in logits) / len(logits)).logit(1e-15) / self.temperature
        return (sum(x.softmax(dim=1) for x in logits) / len(logits)).clamp_min(1e-30).log() / self.temperature


def layer_groups(model: Ensemble) -> list[list[torch.nn.Parameter]]:
    """Return the five layer groups, embedding, LSTMs and head, each with the parameters of all directions."""
    return [[*chain(*same)] for same in zip(*map(awd_lstm_clas_split, model.models))]


def learner(predictor: Predictor) -> Learner:
    """Return a fastai Learner that predicts as the run does: `predict(text)`, and `get_preds(dl=dls.test_dl(texts))`.

    It has no data. To fine-tune it, set its `dls` to loaders made by its `dls.test_dl(df, with_labels=True)`, where
    `df` has the columns text and label.
    """
    one = predictor.classes[0]  # fastai needs data to set up its transforms; it is not exported
    rows = pd.DataFrame({"text": one, "label": one, "split": ["train", "valid"]})
    thresh = torch.tensor(predictor.thresholds) if predictor.multi_label else None
    return Learner(
        dataloaders(rows, predictor, 64, device=torch.device("cpu")),
        Ensemble(predictor.models, predictor.temperature, predictor.multi_label).cpu(),
        splitter=layer_groups,
        **learners.loss_and_error(predictor.multi_label, thresh=thresh),
        **learners.learner_options(predictor.recipe.clas, "fp32"),
    )


def classifier_learner(predictor: Predictor, direction: str, corpus: Corpus) -> TextLearner:
    """Return a fastai Learner with one direction's classifier, and the training and validation texts of a corpus.

    Raises `DataError` if the corpus has a class that the classifier does not have, or if only one of the two has
    several labels per text.
    """
    if corpus.multi_label != predictor.multi_label:
        raise DataError(f"{corpus.name}: only one of the corpus and the classifier has several labels per text")
    if unknown := sorted(set(corpus.classes) - set(predictor.classes)):
        raise DataError(f"{corpus.name}: the classifier has no class {unknown[0]!r}; it has {predictor.classes}")
    dls = dataloaders(corpus.df, predictor, predictor.recipe.clas.bs, backwards=direction == "backward")
    weight = corpus.class_weights if predictor.recipe.class_weights and corpus.classes == predictor.classes else None
    options = {"weight": weight, "multi_label": predictor.multi_label}
    if predictor.multi_label:
        raw = apply_temperature(predictor.thresholds, 1 / predictor.temperature, multi_label=True)
        options["thresh"] = torch.tensor(predictor.raw_thresholds.get(direction, raw))
    learn = learners.clas_learner(dls, len(predictor.classes), predictor.recipe, "fp32", **options)
    learn.model.load_state_dict(predictor.models[direction].state_dict())
    return learn


def dataloaders(
    df: pd.DataFrame, predictor: Predictor, bs: int, backwards: bool = False, device: torch.device | None = None
) -> DataLoaders:
    """Return fastai loaders of the train and valid rows of `df`, which has the columns text, label and split.

    Runs train on token ids from disk (`method.tokens`). These loaders read texts, as fastai requires to show a batch,
    predict a text or take new data.
    """
    read_ids = [ColReader("text"), Words(predictor.recipe.lang), Numericalize(predictor.vocab)]
    read_ids += [Backwards()] if backwards else []
    rows = [np.flatnonzero(df["split"] == split).tolist() for split in ("train", "valid")]
    sizes = [df["text"].iloc[places].str.len().tolist() for places in rows]  # else fastai tokenises texts to sort them
    classes = predictor.classes
    of_labels = [ColReader("label"), split_labels, MultiCategorize(classes), OneHotEncode(len(classes))]
    labels = of_labels if predictor.multi_label else [ColReader("label"), Categorize(classes)]
    sets = Datasets(df, [read_ids, labels], splits=rows)
    return sets.dataloaders(
        bs=without_single(len(rows[0]), bs),
        dl_type=SortedDL,
        dl_kwargs=[{"res": sizes[0]}, {"val_res": sizes[1]}],
        before_batch=Pad_Chunk(pad_first=False),  # the same padding as `pad_input`, which would show it
        drop_last=False,
        num_workers=0,
        device=device or use_device(),
    )


@dispatch
def show_results(
    x: TensorText, y: TensorCategory | TensorMultiCategory, samples, outs, ctxs=None, max_n=10, trunc_at=150, **kwargs
):
    """Replace fastai 2.8's method, which for texts fails with "'Function' object is not subscriptable" (fastai issue
    4092), and for texts with several labels because these have no column name."""
    samples = L((text.truncate(trunc_at), _titled(label)) for text, label in samples)
    outs = L((_titled(label),) for (label,) in outs)
    ctxs = get_empty_df(min(len(samples), max_n)) if ctxs is None else ctxs
    of_any = show_results.invoke(object, object, object, object)
    display_df(pd.DataFrame(of_any(x, y, samples, outs, ctxs=ctxs, max_n=max_n, **kwargs)))


def _titled(label):
    return Category(join_labels(label)) if isinstance(label, MultiCategory) else label
