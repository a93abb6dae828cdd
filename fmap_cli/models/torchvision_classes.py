"""Networks of torchvision's classes that a user has made: what they are fed like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmap_cli.models.preprocessing import assumed
from fmap_cli.models.records import InputKind, Preprocessing
from fmap_cli.models.torchvision_sets import all_weights, fed, preprocessing_of

if TYPE_CHECKING:
    import torch

# Of each class in torchvision.models whose networks take anything but one picture at 224: a model made of it.
_OF_CLASSES = {
    "detection.generalized_rcnn.GeneralizedRCNN": "fasterrcnn_resnet50_fpn",
    "detection.retinanet.RetinaNet": "retinanet_resnet50_fpn",
    "detection.fcos.FCOS": "fcos_resnet50_fpn",
    "detection.ssd.SSD": "ssd300_vgg16",
    "segmentation._utils._SimpleSegmentationModel": "fcn_resnet50",
    "segmentation.lraspp.LRASPP": "lraspp_mobilenet_v3_large",
    "optical_flow.raft.RAFT": "raft_large",
    "video.resnet.VideoResNet": "r3d_18",
    "video.mvit.MViT": "mvit_v1_b",
    "video.swin_transformer.SwinTransformer3d": "swin3d_t",
    "video.s3d.S3D": "s3d",
}


def name_by_class(module: torch.nn.Module) -> str | None:
    """The model that a network of the user's own is fed like, by its class or one that it is a subclass of.

    One that only wraps such a network, which is all it has of parameters, is fed as that is.
    """
    for each in type(module).__mro__:
        name = _OF_CLASSES.get(f"{each.__module__}.{each.__qualname__}".removeprefix("torchvision.models."))
        if name is not None:
            return name
    learning = [child for child in module.children() if next(child.parameters(), None) is not None]
    wraps = len(learning) == 1 and next(module.parameters(recurse=False), None) is None
    return name_by_class(learning[0]) if wraps and type(module).__module__.partition(".")[0] != "torchvision" else None


def fed_by_class(name: str) -> tuple[Preprocessing, InputKind, int]:
    """How the model `name` is fed, for networks of its class: preprocessing, kind of input, frames."""
    entry = all_weights(name).DEFAULT
    return assumed(preprocessing_of(entry)), *fed(entry)
