"""The likeliest classes of many images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.records import LoadedModel
from ..network.capture import eval_mode
from ..session.batches import Failures, Say, batches, check_rows
from ..session.by_folder import classes_of
from ..session.opening import Session, groups, read_image
from ..session.passes import run, run_cheaply
from .confusion import confusion_of
from .reading import class_scores, predictions, score_map, tensors
from .records import Answers, Confusion, Predictions


def classify(
    session: Session,
    arguments: Sequence[str],
    top: int,
    size: int,
    say: Say,
    layout: str | None = None,
    advanced: Callable[..., None] = lambda done, total, failed=0: None,
    *,
    by_class: bool = False,
) -> Predictions:
    """The `top` likeliest classes of each image, in batches of `size`; and the images that gave none.

    With `by_class` the folders of images are their classes, and the result says how often each was answered with which.
    Raises ModelError where the model is not a classifier, and ImageError where the arguments name no images.
    """
    if session.model.input_kind in ("images", "image_pair"):
        raise no_classifier(session.model, None)
    entries: Sequence[str | Sequence[str] | None]
    folders: dict[str, str] = {}
    if by_class:
        paths, classes = classes_of(session, arguments, "predict")
        entries, folders = paths, dict(zip(paths, classes, strict=True))
    else:
        entries = groups(session, arguments)
    found: list[Answers] = []
    failures: Failures = []
    origin = None
    for batch in batches(session, entries, size, say, failures, layout, advanced):
        output = run(session, batch, lambda layer: None, operations=False, paths=frozenset())
        origin = origin or session.origin_of(*batch)
        labels = session.model.labels
        rows = class_scores(output, labels)
        if rows is None:
            raise no_classifier(session.model, output)
        check_rows(f"{session.model.name} gives", len(rows), len(batch))
        for image, scores in zip(batch, rows, strict=True):
            answers = predictions(scores[None], labels, top, session.model.module)
            if answers:
                found.append(Answers(image.name, answers, folders.get(image.name)))
            else:
                reason = ModelError(
                    f"{session.model.name} gives scores that are not finite for {image.name}.",
                    hint="`fmap stats` on this image says at which layer NaN or infinity begins.",
                )
                failures.append((image.name, reason))
    answered = [(each.folder, each.predictions[0]) for each in found if each.folder is not None]
    confusion = None
    if answered:
        confusion = confusion_of([one for one, _ in answered], [one for _, one in answered], session.model.labels)
        if confusion.unmatched:
            say(_unmatched(session, confusion))
    return Predictions(origin or session.origin, tuple(found), top, tuple(failures), confusion)


def _unmatched(session: Session, confusion: Confusion) -> str:
    names = confusion.unmatched
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if not session.model.labels:
        why = f"the classes of {session.model.name} have no names: --labels FILE gives them"
    else:
        why = f"{session.model.name} has no class of that name"
    return f"{len(names)} of {len(confusion.rows)} folders are counted and not judged ({listed}): {why}."


def check_labels(session: Session) -> None:
    """Raises ModelError where the network answers with another number of classes than it was given labels for.

    One pass on blank values tells. Of an answer that is neither a list of scores nor a map of them nothing is known.
    """
    labels = session.model.labels or ()
    image = read_image(session, None, lambda _: None)

    def classes(module: nn.Module, inputs: tuple[Any, ...]) -> int | None:
        with torch.no_grad(), eval_mode(module):
            output = module(*inputs)
        scores = class_scores(output, labels)
        scores = score_map(output) if scores is None else scores
        return None if scores is None else scores.shape[1]

    count, _ = run_cheaply(session, image, classes, lambda _: ())
    if count is not None and count != len(labels):
        raise ModelError(
            f"{len(labels)} label{'s' * (len(labels) != 1)} for {session.model.name}, which answers with"
            f" {count} classes: one label a class is needed.",
            hint="Give the names in the order of the classes.",
        )


def no_classifier(model: LoadedModel, output: Any) -> ModelError:
    """What such a model gives instead of a score for each class, and how to see it."""
    name = model.name
    show = f"`fmap show IMAGE --model {name}"
    if model.input_kind == "images":
        return ModelError(
            f"{name} is not a classifier: it detects objects, boxes with a class and a score each.",
            hint=f"{show}` draws them on the picture.",
        )
    if model.input_kind == "image_pair":
        return ModelError(
            f"{name} is not a classifier: its output is how each pixel moves from one picture to the next.",
            hint=f"`fmap show FIRST SECOND --model {name} --layer last` draws maps of it.",
        )
    held = tensors(output)
    listed = ", ".join(f"{key} {list(each.shape)}".strip() for key, each in held.items())
    hint = ""
    what, layer = listed or f"a {type(output).__name__} without tensors", "last"
    if isinstance(output, Tensor):
        if output.ndim == 2 and output.shape[1] == 1:
            what += ", a single number an image"
            hint = f"`fmap effect IMAGE --model {name}` and `fmap cam` say what this number comes of."
        elif class_scores(output, None) is not None:
            what += ", which are features, not scores of classes"
    elif held:
        if any(each.ndim == 4 for each in held.values()):
            what += ", a map of scores for each class"
        elif sum(class_scores(each, None) is not None for each in held.values()) > 1:
            what = f"several answers ({listed}), none of them called logits"
        name_of_first = next(iter(held))
        layer = f"output.{name_of_first}" if isinstance(output, (list, tuple)) else name_of_first
    return ModelError(
        f"{name} is not a classifier: its output is {what}; expected [B, K] scores of K ≥ 2 classes.",
        hint=hint or f"{show} --layer {layer}` draws it; `fmap layers {name}` lists its layers.",
    )
