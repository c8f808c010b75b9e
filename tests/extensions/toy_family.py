"""A model family that the package does not have: one layer of attention between patches."""

from dataclasses import dataclass

from einops import rearrange
from torch import nn

from vit_demo.checkpoints.families import Family
from vit_demo.checkpoints.values import sides, whole
from vit_demo.models import Classifier, ModelConfig
from vit_demo.models.grids import token_sharing
from vit_demo.models.layers import PatchEmbedding, SelfAttention


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    classes: int
    width: int
    image_size: tuple[int, int]
    channels: int = 3
    cell: int = 8
    least_side: int = 8

    @property
    def grid(self):
        return self.image_size[0] // self.cell, self.image_size[1] // self.cell

    def build(self):
        return Toy(self)


class Toy(Classifier[ToyConfig]):
    exact_flows = True

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config.cell, config.channels, config.width)
        self.attn = SelfAttention(config.width, 1, config.width, True, 0.0, 0.0)
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, pixels, trace=None):
        patches = self.patch_embed(pixels)
        tokens = rearrange(patches, "b rows cols d -> b (rows cols) d")
        if trace is not None:
            trace.begin((patches.shape[1], patches.shape[2]))
        tokens = tokens + self.attn(tokens, trace)
        if trace is not None:
            trace.record_hidden_state(tokens)
            count = tokens.shape[1]
            trace.record(token_sharing(range(count), count, pixels.device))
        return self.head(tokens.mean(dim=1))


def read_hf(config_json, tensors, model_type, classes, source):
    del model_type, source
    config = ToyConfig(classes, whole(config_json, "width", 8), sides(config_json, "size", 32))
    named = {name.removeprefix("toy."): tensor for name, tensor in tensors.items()}
    return config, named, f"width {config.width}"


FAMILY = Family(model=Toy, model_types={"toy": "Toy"}, read_hf=read_hf)
