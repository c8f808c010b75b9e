"""The Vision Transformer against the paper, its published sizes, and itself."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import hostile
import pytest
import torch
from jaxtyping import TypeCheckError
from torch.nn import functional

from vit_demo.errors import ConfigError
from vit_demo.models.vit import PRESETS, VisionTransformer, ViTConfig, preset, resample_positions
from vit_demo.trace import Trace, mean_heads, propagate_back

VARIANTS = {
    "plain": {},
    "distilled": {"distilled": True},
    "pre-logits": {"representation": 16},
    "layer scale": {"layer_scale": 0.1},
    "narrow heads": {"head_width": 5},
    "no qkv bias": {"qkv_bias": False},
    "tanh": {"gelu": "tanh"},
    "rectangle": {"image_size": (24, 40)},
    "registers": {"registers": 3},
    "unplaced prefix": {"registers": 2, "prefix_positions": False, "antialias": True},
    "mean": {"pooling": "mean", "final_norm": "pooled"},
    "mean without class token": {"pooling": "mean", "class_token": False, "registers": 1},
    "patches alone": {"pooling": "mean", "class_token": False, "final_norm": "none"},
    "class and mean": {"pooling": "class and mean", "registers": 2, "swiglu": True},
    "attention": {"pooling": "attention", "class_token": False, "registers": 1},
    "pre-norm": {"pre_norm": True, "gelu": "quick"},
    "RMS norms, fewer biases": {"rms_norm": True, "patch_norm": True, "proj_bias": False},
    "qk-norm": {"qk_norm": True, "layer_scale": 0.1},
}

# With 1000 classes: DeiT's table 1 (5M, 22M, 86M) and the paper's table 1 (86M, 307M, 632M),
# to the last parameter.
PARAMETERS = {
    "ti16": 5_717_416,
    "s16": 22_050_664,
    "b16": 86_567_656,
    "b32": 88_224_232,
    "l16": 304_326_632,
    "h14": 632_045_800,
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request, tiny_config, make_model):
    return make_model(replace(tiny_config, **request.param))


def test_every_preset_has_a_published_parameter_count():
    assert PARAMETERS.keys() == PRESETS.keys()


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameter_counts_are_those_of_the_published_models(name, count):
    with torch.device("meta"):
        model = VisionTransformer(preset(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("size", [(32, 32), (16, 48)])
def test_watching_does_not_change_a_single_bit(variant, size):
    pixels = torch.randn(2, 3, *size)
    trace = Trace()
    assert torch.equal(variant(pixels), variant(pixels, trace))
    assert len(trace.layers) == variant.config.depth


@pytest.mark.parametrize("size", [(32, 32), (16, 48), (24, 24), (64, 8), (35, 47)])
def test_any_input_of_whole_patches_is_read(variant, size):
    trace = Trace()
    logits = variant(torch.randn(2, 3, *size), trace)
    assert logits.shape == (2, 5)
    assert trace.grid == (size[0] // 8, size[1] // 8)
    assert propagate_back(trace.flows, torch.ones(2, 1, 1)).shape == (
        2,
        1,
        trace.grid[0] * trace.grid[1],
    )


def test_a_batch_of_two_equals_two_batches_of_one(variant):
    pixels = torch.randn(2, 3, 32, 32)
    alone = torch.cat([variant(pixels[:1]), variant(pixels[1:])])
    torch.testing.assert_close(variant(pixels), alone, rtol=1e-4, atol=1e-4)


def test_logits_are_the_papers_four_equations(tiny_model):
    """Written out without the model's own forward passes: equations 1 to 4."""
    m, eps = tiny_model, tiny_model.config.layer_norm_eps
    pixels = torch.randn(2, 3, 32, 32)
    kernel = m.patch_embed.proj
    patches = functional.conv2d(pixels, kernel.weight, kernel.bias, stride=8).flatten(2).mT
    z = torch.cat([m.cls_token.expand(2, 1, -1), patches], dim=1) + m.pos_embed

    def norm(layer, tokens):
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        spread = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return centred / spread * layer.weight + layer.bias

    for block in m.blocks:
        z = block.attn(norm(block.norm1, z)) + z
        z = block.mlp(norm(block.norm2, z)) + z
    y = norm(m.norm, z)[:, 0] @ m.head.weight.T + m.head.bias
    torch.testing.assert_close(m(pixels), y, rtol=1e-4, atol=1e-4)


def test_layer_norm_has_the_eps_that_was_asked_for(tiny_config):
    model = VisionTransformer(replace(tiny_config, layer_norm_eps=0.25))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * tiny_config.depth + 1
    assert {norm.eps for norm in norms} == {0.25}


def encoded(model, pixels):
    tokens = model.embed(pixels)
    for block in model.blocks:
        tokens = block(tokens)
    return model.norm(tokens)


def test_pre_logits_are_one_linear_layer_and_a_tanh(tiny_config, make_model):
    model = make_model(replace(tiny_config, representation=16))
    pixels = torch.randn(2, 3, 32, 32)
    fc = model.pre_logits.fc
    features = torch.tanh(encoded(model, pixels)[:, 0] @ fc.weight.T + fc.bias)
    by_hand = features @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(pixels), by_hand)


def test_distilled_logits_are_the_mean_of_two_heads(tiny_config, make_model):
    model = make_model(replace(tiny_config, distilled=True))
    pixels = torch.randn(2, 3, 32, 32)
    tokens = encoded(model, pixels)
    assert tokens.shape[1] == 2 + 16
    by_hand = (model.head(tokens[:, 0]) + model.head_dist(tokens[:, 1])) / 2
    torch.testing.assert_close(model(pixels), by_hand)


def test_the_read_out_weighs_the_tokens_that_the_heads_read(variant):
    """Moving any other token of the last layer leaves the logits alone; moving these does not."""
    trace = Trace()
    tokens = encoded(variant, torch.randn(1, 3, 32, 32)).detach().requires_grad_()
    score = variant.read_out(tokens, trace)[0, 0]
    (slope,) = torch.autograd.grad(score, tokens)
    weight = trace.flows[-1].apply_transpose(torch.ones(1, 1, 1), mean_heads)
    assert torch.equal(weight[0, 0] > 0, slope[0].abs().amax(dim=-1) > 0)
    assert weight.sum().item() == pytest.approx(1)


def test_the_read_out_is_shared_as_the_pooling_says(tiny_config, make_model):
    tokens = torch.randn(2, 19, 24)
    shares = {
        "class": [1.0] + [0.0] * 18,
        "mean": [0.0] * 3 + [1 / 16] * 16,
        "class and mean": [0.5] + [0.0] * 2 + [1 / 32] * 16,
    }
    for pooling, expected in shares.items():
        trace = Trace()
        model = make_model(replace(tiny_config, registers=2, pooling=pooling))
        model.read_out(tokens, trace)
        weight = trace.flows[-1].apply_transpose(torch.ones(2, 1, 1), lambda *_: None)
        torch.testing.assert_close(weight, torch.tensor(expected).expand(2, 1, 19))


def test_tokens_stand_as_class_registers_patches(tiny_config, make_model):
    config = replace(tiny_config, registers=2)
    model = make_model(config)
    pixels = torch.randn(1, 3, 32, 32)
    placed = model.embed(pixels) - model.pos_embed
    torch.testing.assert_close(placed[:, :1], model.cls_token)
    torch.testing.assert_close(placed[:, 1:3], model.reg_token)
    patches = model.patch_embed(pixels).flatten(1, 2)
    torch.testing.assert_close(placed[:, 3:], patches, rtol=1e-4, atol=1e-4)


def test_an_unplaced_prefix_gets_no_position(tiny_config, make_model):
    model = make_model(replace(tiny_config, registers=2, prefix_positions=False))
    tokens = model.embed(torch.randn(1, 3, 32, 32))
    assert model.pos_embed.shape == (1, 16, 24)
    assert torch.equal(tokens[:, :1], model.cls_token)
    assert torch.equal(tokens[:, 1:3], model.reg_token)


def test_swiglu_and_quick_gelu_written_out():
    from vit_demo.models.layers import QuickGelu, SwiGlu

    tokens = torch.randn(2, 5, 8)
    gated = SwiGlu(8, 12, 0.0)
    gate, value = (tokens @ gated.fc1.weight.T + gated.fc1.bias).split(12, dim=-1)
    by_hand = (gate / (1 + (-gate).exp()) * value) @ gated.fc2.weight.T + gated.fc2.bias
    torch.testing.assert_close(gated(tokens), by_hand)
    torch.testing.assert_close(QuickGelu()(tokens), tokens / (1 + (-1.702 * tokens).exp()))


def test_queries_and_keys_are_normalised_head_by_head(tiny_config, make_model):
    attention = make_model(replace(tiny_config, qk_norm=True)).blocks[0].attn
    trace = Trace()
    attention(torch.randn(1, 6, 24), trace)
    for found, norm in ((trace.layers[0].query, "q_norm"), (trace.layers[0].key, "k_norm")):
        norm = getattr(attention, norm)
        plain = (found - norm.bias) / norm.weight
        torch.testing.assert_close(plain.mean(dim=-1), torch.zeros(1, 3, 6), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            plain.var(dim=-1, unbiased=False), torch.ones(1, 3, 6), rtol=0, atol=1e-3
        )


def test_layer_scale_acts_on_both_residual_branches(tiny_config, make_model):
    model = make_model(replace(tiny_config, layer_scale=0.1))
    block = model.blocks[1]
    tokens = torch.randn(1, 6, 24)
    middle = tokens + block.ls1.gamma * block.attn(block.norm1(tokens))
    by_hand = middle + block.ls2.gamma * block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(tokens), by_hand)
    fresh = VisionTransformer(replace(tiny_config, layer_scale=0.1))
    assert torch.equal(fresh.blocks[0].ls1.gamma, torch.full((24,), 0.1))


def test_drop_path_rates_rise_in_a_straight_line(tiny_config):
    model = VisionTransformer(replace(tiny_config, depth=5, drop_path=0.4))
    rates = [block.drop_path.rate for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_dropped_block_passes_its_tokens_on_unchanged(tiny_config):
    model = VisionTransformer(replace(tiny_config, depth=2, drop_path=0.999999)).train()
    tokens = torch.randn(4, 6, 24)
    assert torch.equal(model.blocks[1](tokens), tokens)
    assert not torch.allclose(model.blocks[0](tokens), tokens)


def test_in_use_nothing_is_dropped(tiny_config, make_model):
    shaky = {"dropout": 0.3, "attention_dropout": 0.3, "drop_path": 0.3}
    pixels = torch.randn(2, 3, 32, 32)
    model = make_model(replace(tiny_config, **shaky))
    assert torch.equal(model(pixels), make_model(tiny_config)(pixels))
    model.train()
    assert not torch.allclose(model(pixels), model(pixels))


@pytest.mark.parametrize("grid", [(2, 7), (5, 3), (4, 4), (8, 2), (1, 1)])
def test_positions_are_interpolated_as_transformers_does(their_checkpoint, grid):
    """Against the library's own interpolate_pos_encoding, rectangles included."""
    import transformers

    from vit_demo.checkpoints import hf_format as layout
    from vit_demo.checkpoints.checkpoint import load_state_dict_strict

    folder = their_checkpoint()
    oracle = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    stored = layout.read(folder, "it")
    model = VisionTransformer(stored.config).eval()
    load_state_dict_strict(model, stored.tensors, "it")
    pixels = torch.randn(2, 3, 8 * grid[0], 8 * grid[1])
    with torch.no_grad():
        theirs = oracle(pixels, interpolate_pos_encoding=True).logits
        torch.testing.assert_close(model(pixels), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", [1, 2])
def test_positions_of_prefix_tokens_stay_as_they_are(prefix):
    positions = torch.randn(1, prefix + 12, 6)
    resampled = resample_positions(positions, prefix, (3, 4), (5, 2))
    assert resampled.shape == (1, prefix + 10, 6)
    assert torch.equal(resampled[:, :prefix], positions[:, :prefix])
    assert resample_positions(positions, prefix, (3, 4), (3, 4)) is positions


def test_positions_keep_rows_and_columns_apart():
    """Positions that say only their row still do so after a change of columns."""
    rows = torch.arange(3.0)[:, None].expand(3, 4).reshape(1, 12, 1)
    positions = torch.cat([torch.zeros(1, 1, 1), rows], dim=1)
    wider = resample_positions(positions, 1, (3, 4), (3, 7))[0, 1:, 0].reshape(3, 7)
    torch.testing.assert_close(wider, torch.arange(3.0)[:, None].expand(3, 7))


@pytest.mark.parametrize("name", ["plain", "distilled", "pre-logits"])
def test_a_frozen_backbone_leaves_only_the_head_to_learn(name, tiny_config):
    model = VisionTransformer(replace(tiny_config, **VARIANTS[name]))
    model.freeze_backbone()
    learning = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    heads = {"plain": set(), "distilled": {"head_dist"}, "pre-logits": {"pre_logits"}}[name]
    assert learning == {"head"} | heads
    model(torch.randn(1, 3, 32, 32)).sum().backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }
    model.unfreeze()
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes=0, but it must lie between 1 and"),
        ({"depth": -1}, "depth=-1, but it must lie between 1 and"),
        ({"image_size": (30, 32)}, "30 pixels is not a whole number of 8-pixel.*try 24 or 32"),
        ({"image_size": (32, 4)}, "4 pixels is not a whole number of 8-pixel.*try 8 or 16"),
        ({"heads": 5}, "24 cannot be shared evenly by 5 heads"),
        ({"dropout": 1.0}, r"dropout=1.0, but it must lie in \[0, 1\)"),
        ({"attention_dropout": -0.1}, r"attention_dropout=-0.1, but it must lie in \[0, 1\)"),
        ({"drop_path": 2.0}, r"drop_path=2.0, but it must lie in \[0, 1\)"),
        ({"registers": -1}, "registers=-1, but it must be 0 or more"),
        ({"class_token": False}, 'keep it, or choose pooling="mean"'),
        ({"class_token": False, "pooling": "mean", "distilled": True}, "Without a class token"),
        ({"distilled": True, "pooling": "mean"}, "reads its two tokens"),
        ({"width": 2**70}, "width=.*, but it must lie between 1 and"),
        ({"width": True}, "width=True, but it must be a whole number"),
        ({"mlp_width": 1.5}, "mlp_width=1.5, but it must be a whole number"),
        ({"depth": 1001}, "depth=1001, but at most 1000 blocks are built"),
        ({"registers": 1.0}, "registers=1.0, but it must be a whole number"),
        ({"image_size": (32, 8192)}, r"image_size\[1\]=8192, but it must lie between 1 and 4096"),
        ({"image_size": 32}, "image_size=32, but it must be 2 whole numbers"),
        ({"patch_size": 10**400}, "patch_size=1000.*, but it must lie between 1 and 4096"),
        ({"layer_norm_eps": math.nan}, r"layer_norm_eps=nan, but it must lie in \[0, 1\)"),
        ({"layer_norm_eps": "x"}, r"layer_norm_eps='x', but it must lie in \[0, 1\)"),
        ({"layer_scale": 10**400}, "layer_scale=.*, but it must be a finite number"),
        ({"qkv_bias": "x"}, "qkv_bias='x', but it must be true or false"),
        ({"head_width": 0}, "head_width=0, but it must lie between 1 and"),
        ({"heads": 5, "head_width": 4, "pooling": "attention"}, "Attention pooling shares .* 5"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(tiny_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        hostile.remade(tiny_config, **changes)


def test_no_layer_norm_eps_is_what_both_libraries_take(tiny_config, make_model):
    """Only a token whose channels are all alike is then divided by zero."""
    model = make_model(replace(tiny_config, layer_norm_eps=0.0))
    assert model(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_a_picture_smaller_than_a_patch_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="7 × 9 pixels is smaller than one patch of 8 × 8"):
        tiny_model(torch.zeros(1, 3, 9, 7))


def test_heads_need_not_share_the_width_when_theirs_is_stated(tiny_config):
    assert replace(tiny_config, heads=5, head_width=7).head_width == 7


def test_a_preset_takes_changes_and_an_unknown_one_is_named():
    assert preset("s16", classes=7) == ViTConfig(7, width=384, heads=6, mlp_width=1536)
    with pytest.raises(ConfigError, match="no preset 's17'; choose one of: ti16, s16"):
        preset("s17")


def test_a_fresh_model_starts_with_small_weights_and_zero_biases(tiny_config):
    model = VisionTransformer(replace(tiny_config, width=96, mlp_width=400, distilled=True))
    for name, parameter in model.named_parameters():
        if name.endswith("bias") and "patch_embed" not in name:
            assert not parameter.any(), name
        elif "norm" not in name and "patch_embed" not in name:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.35), name


def test_looking_leaves_no_fingerprints(tiny_model):
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    trace = Trace()
    score = tiny_model(torch.randn(1, 3, 32, 32), trace)[0, 0]
    torch.autograd.grad(score, [layer.attn_output for layer in trace.layers])
    assert all(parameter.grad is None for parameter in tiny_model.parameters())
    assert all(torch.equal(v, before[n]) for n, v in tiny_model.state_dict().items())
    assert not any(module._forward_hooks for module in tiny_model.modules())
    assert not tiny_model.training


def test_two_threads_with_two_photos_get_what_each_gets_alone(tiny_model):
    photos = [torch.randn(1, 3, 32, 32), torch.randn(1, 3, 24, 40)]

    def prepare(pixels):
        trace = Trace()
        with torch.no_grad():
            logits = tiny_model(pixels, trace)
            return logits, propagate_back(trace.flows, torch.ones(1, 1, 1)), trace

    alone = [prepare(pixels) for pixels in photos]
    together = Barrier(2)

    def look_often(which):
        seen = []
        for _ in range(20):
            together.wait()
            seen.append(prepare(photos[which]))
        return seen

    with ThreadPoolExecutor(2) as pool:
        for (logits, rollout, trace), seen in zip(
            alone, pool.map(look_often, range(2)), strict=True
        ):
            for logits_now, rollout_now, trace_now in seen:
                torch.testing.assert_close(logits_now, logits)
                torch.testing.assert_close(rollout_now, rollout)
                assert trace_now.grid == trace.grid
                assert len(trace_now.flows) == len(trace.flows)


def test_a_photo_without_a_batch_or_with_integers_is_refused(tiny_model):
    with pytest.raises(TypeCheckError, match="pixels"):
        tiny_model(torch.zeros(3, 32, 32))
    with pytest.raises(TypeCheckError, match="pixels"):
        tiny_model(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
