"""Evidence: every term compared with explicit sums, on our models and on those of timm and HF."""

from dataclasses import replace
from pathlib import Path

import oracles
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_timm_format import ours, theirs
from test_vit import VARIANTS
from torch import nn

from vit_demo import load, prepare
from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.errors import MethodError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.explanations.capability import capabilities
from vit_demo.explanations.evidence import accounts

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
TARGET = torch.tensor([0, 3])
EVIDENCE = METHODS["evidence"]
REFUSED = {"pre-logits": "tanh", "attention": "pools the tokens by attention"}
SUMS = [name for name in VARIANTS if name not in REFUSED]


def through(norm, tokens, change):
    """How a norm with a frozen scale maps a change of its input to a change of its output."""
    if isinstance(norm, nn.Identity):
        return change
    centred = change
    spread = tokens.square()
    if type(norm).__name__ == "LayerNorm":
        centred = change - change.mean(dim=-1, keepdim=True)
        spread = (tokens - tokens.mean(dim=-1, keepdim=True)).square()
    return centred / (spread.mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight


def by_hand(model, tokens, prefix, read, target):
    """The terms of one photo's centered logit; `read` pools (tokens, number of the head).

    What every attention head moves between every pair of tokens is computed and propagated forward
    through the classification head.
    """
    heads = [head for head in (model.head, getattr(model, "head_dist", None)) if head is not None]

    def pushed(change, final):
        """One change of the tokens through norm, pooling, norm and head, minus the mean."""
        normed, whole = through(model.norm, final, change), model.norm(final)
        logits = torch.zeros(len(model.head.weight))
        for place, head in enumerate(heads):
            pooled = through(model.fc_norm, read(whole, place), read(normed, place))
            logits = logits + head.weight @ pooled / len(heads)
        return logits[target] - logits.mean()

    embedded, moved, fed, biases = tokens, [], [], []
    for block in model.blocks:
        attn, count = block.attn, len(tokens)
        normed = block.norm1(tokens)
        query, key, value = attn.qkv(normed).reshape(count, 3, -1).unbind(dim=1)
        number = getattr(attn, "num_heads", None) or attn.heads
        query, key, value = (part.reshape(count, number, -1) for part in (query, key, value))
        query, key = attn.q_norm(query), attn.k_norm(key)
        width = query.shape[-1]
        layer = torch.zeros(count, count, tokens.shape[1])
        for head in range(number):
            weights = (query[:, head] @ key[:, head].T / width**0.5).softmax(dim=-1)
            sent = value[:, head] @ attn.proj.weight[:, head * width : (head + 1) * width].T
            layer += weights[:, :, None] * sent[None]
        layer = block.ls1(layer)
        moved.append(layer)
        bias = torch.zeros(tokens.shape[1]) if attn.proj.bias is None else attn.proj.bias
        biases.append(block.ls1(bias.expand(1, count, -1))[0])
        tokens = tokens + layer.sum(dim=1) + biases[-1]
        fed.append(block.ls2(block.mlp(block.norm2(tokens)[None]))[0])
        tokens = tokens + fed[-1]
    by_token = torch.tensor(
        [[pushed(layer[:, token], tokens) for token in range(len(tokens))] for layer in moved]
    )
    nothing, offset = torch.zeros_like(tokens), getattr(model.norm, "bias", None)
    whole = torch.zeros(len(model.head.weight))
    for place, head in enumerate(heads):
        resting = read(nothing if offset is None else nothing + offset, place)
        pooled = through(model.fc_norm, read(model.norm(tokens), place), resting)
        if getattr(model.fc_norm, "bias", None) is not None:
            pooled = pooled + model.fc_norm.bias
        whole = whole + head(pooled) / len(heads)
    return {
        "patches": by_token.sum(dim=0)[prefix:],
        "prefix_tokens": by_token.sum(dim=0)[:prefix],
        "by_layer": by_token[:, prefix:].sum(dim=1),
        "mlps": pushed(sum(fed), tokens),
        "embedding": pushed(embedded, tokens),
        "biases": pushed(sum(biases), tokens) + whole[target] - whole.mean(),
    }


def reader(pooling, prefix):
    """What each head reads; the second head of a distilled model reads the second token."""
    return {
        "class": lambda tokens, place: tokens[place],
        "mean": lambda tokens, place: tokens[prefix:].mean(dim=0),
        "class and mean": lambda tokens, place: torch.cat([tokens[0], tokens[prefix:].mean(dim=0)]),
    }[pooling]


def assert_same(found, expected, atol=1e-4):
    assert found.patches.flatten().tolist() == pytest.approx(expected["patches"].tolist(), abs=atol)
    for name in ("prefix_tokens", "by_layer"):
        assert getattr(found, name).tolist() == pytest.approx(expected[name].tolist(), abs=atol)
    for name in ("mlps", "embedding", "biases"):
        assert getattr(found, name) == pytest.approx(float(expected[name]), abs=atol)
    assert found.total == pytest.approx(found.centred_logit, abs=atol)


@pytest.mark.parametrize("variant", SUMS)
@torch.no_grad()
def test_every_vit_variant_has_the_account_of_explicit_sums(tiny_config, make_model, variant):
    """Two rectangular photos with different classes; every pair of tokens is summed by hand."""
    model = make_model(replace(tiny_config, **VARIANTS[variant])).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    found = accounts(run_with_trace(model, pixels), TARGET)
    logits, embedded, prefix = model(pixels), model.embed(pixels), model.config.prefix
    for photo, target in enumerate(TARGET):
        read = reader(model.config.pooling, prefix)
        assert_same(found[photo], by_hand(model, embedded[photo], prefix, read, target))
        centred = logits[photo, target] - logits[photo].mean()
        assert found[photo].centred_logit == pytest.approx(float(centred), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("vit_tiny_patch16_224, qk-norm and layer scale", "class"),
        ("vit_base_patch16_gap_224", "mean"),
        ("vit_medium_patch16_reg4_gap_256", "mean"),
        ("deit_tiny_distilled_patch16_224", "class"),
        ("vit_base_patch32_clip_224", "class"),
    ],
)
@torch.no_grad()
def test_the_account_equals_that_of_timms_model(tmp_path, name, pooling):
    model = theirs(tmp_path, name)
    pixels = oracles.photos(2, 3, 32, 32)
    found = accounts(run_with_trace(ours(tmp_path)[1].model, pixels), TARGET)
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(pixels)))
    logits = model(pixels)
    for photo, target in enumerate(TARGET):
        prefix = tokens.shape[1] - found[photo].patches.numel()
        read = reader(pooling, prefix)
        assert_same(found[photo], by_hand(model, tokens[photo], prefix, read, target))
        centred = float(logits[photo, target] - logits[photo].mean())
        assert found[photo].total == pytest.approx(centred, abs=1e-4)


@torch.no_grad()
def test_it_equals_the_sum_over_transformers_attentions_and_hidden_states(their_checkpoint):
    folder = their_checkpoint(num_hidden_layers=3)
    oracle = oracles.transformers().ViTForImageClassification.from_pretrained(
        folder, attn_implementation="eager"
    )
    pixels = torch.randn(2, 3, 32, 32)
    output = oracle.eval()(pixels, output_attentions=True, output_hidden_states=True)
    weight = oracle.classifier.weight[TARGET] - oracle.classifier.weight.mean(dim=0)
    final, norm = output.hidden_states[-1][:, :1], oracle.vit.layernorm
    expected = torch.zeros(2, 17)
    for layer, state, attention in zip(
        oracle.vit.layers, output.hidden_states, output.attentions, strict=False
    ):
        attn = layer.attention
        value = attn.v_proj(layer.layernorm_before(state)).unflatten(-1, (3, 8))
        out = attn.o_proj.weight.unflatten(1, (3, 8))
        moved = torch.einsum("bhj,bjhd,ehd->bje", attention[:, :, 0], value, out)
        expected += torch.einsum("bje,be->bj", through(norm, final, moved), weight)
    model = build(read_folder(folder, "tiny"), "tiny").model
    traced = run_with_trace(model, pixels)
    found = EVIDENCE(traced, TARGET, {})
    torch.testing.assert_close(found.flatten(1), expected[:, 1:], rtol=0, atol=1e-4)
    for photo, account in enumerate(accounts(traced, TARGET)):
        assert account.prefix_tokens.tolist() == pytest.approx(
            [float(expected[photo, 0])], abs=1e-4
        )
        centred = float(output.logits[photo, TARGET[photo]] - output.logits[photo].mean())
        assert account.total == pytest.approx(centred, abs=1e-4)


@torch.no_grad()
def test_the_bundled_checkpoint_adds_up_photo_by_photo():
    checkpoint = load("flowers")
    for name in ("dahlia.jpg", "drawn-sunflower.png", "honey-bee.jpg"):
        prepared = prepare(checkpoint, EXAMPLES / name)
        analysis = prepared.explain("evidence")
        centred = float(analysis.logits[analysis.target.index] - analysis.logits.mean())
        assert analysis.account.total == pytest.approx(centred, abs=1e-4)
        assert torch.equal(analysis.heatmap, analysis.account.patches)
        assert analysis.signed
    embedded = checkpoint.model.embed(prepared.prepared.pixels)[0]
    expected = by_hand(checkpoint.model, embedded, 1, reader("class", 1), analysis.target.index)
    assert_same(analysis.account, expected)


def test_two_classes_have_the_difference_of_their_accounts(our_checkpoint, photo_file):
    prepared = prepare(load(str(our_checkpoint)), photo_file)
    one, other = prepared.explain("evidence", "roses"), prepared.explain("evidence", "tulips")
    both = prepared.explain("evidence", "roses", versus="tulips")
    torch.testing.assert_close(both.heatmap, one.heatmap - other.heatmap)
    difference = float(both.logits[2] - both.logits[4])
    assert both.account.centred_logit == pytest.approx(difference, abs=1e-5)
    assert both.account.total == pytest.approx(difference, abs=1e-4)


def test_json_has_the_account_and_other_methods_have_none(our_checkpoint, photo_file):
    prepared = prepare(load(str(our_checkpoint)), photo_file)
    content = prepared.explain("evidence").as_json()
    parts = content["account"]
    rest = parts["mlps"] + parts["embedding"] + parts["biases"] + sum(parts["prefix_tokens"])
    assert sum(map(sum, content["heatmap"])) == pytest.approx(parts["patches"], abs=1e-5)
    assert parts["patches"] + rest == pytest.approx(parts["total"], abs=1e-5)
    assert parts["total"] == pytest.approx(parts["centred_logit"], abs=1e-4)
    assert sum(parts["by_layer"]) == pytest.approx(parts["patches"], abs=1e-5)
    assert "account" not in prepared.explain("relevance").as_json()


def test_the_method_does_not_change_the_logits(tiny_model):
    pixels = torch.randn(2, 3, 32, 32)
    plain = tiny_model(pixels)
    traced = run_with_trace(tiny_model, pixels)
    EVIDENCE(traced, TARGET, {})
    assert torch.equal(traced.logits, plain)
    assert torch.equal(tiny_model(pixels), plain)


@pytest.mark.parametrize("chunk", [1, 300])
def test_the_map_does_not_depend_on_the_chunk_size(tiny_config, make_model, monkeypatch, chunk):
    model = make_model(replace(tiny_config, **VARIANTS["mean"]))
    traced = run_with_trace(model, torch.randn(2, 3, 32, 48))
    expected = EVIDENCE(traced, TARGET, {})
    monkeypatch.setattr("vit_demo.trace.CHUNK_NUMBERS", chunk)
    torch.testing.assert_close(EVIDENCE(traced, TARGET, {}), expected)


@pytest.mark.parametrize("variant", REFUSED)
def test_a_head_that_is_not_linear_is_refused_with_the_reason(tiny_config, make_model, variant):
    model = make_model(replace(tiny_config, **VARIANTS[variant]))
    with pytest.raises(MethodError, match=f"'evidence' does not support.*{REFUSED[variant]}"):
        EVIDENCE(run_with_trace(model, torch.randn(2, 3, 32, 32)), TARGET, {})
    reasons = {one.method.name: one.unsupported_reason for one in capabilities(model)}
    assert REFUSED[variant] in reasons.pop("evidence")
    assert set(reasons.values()) == {None}


@pytest.mark.parametrize("family", ["Swin", "MobileViT"])
def test_models_whose_tokens_are_merged_or_convolved_are_refused(family):
    if family == "Swin":
        model, pixels = lively(tiny("timm", (16, 16), (4, 4))), torch.randn(2, 3, 16, 16).double()
    else:
        model, pixels = MobileViT(MobileViTConfig(classes=5)).eval(), torch.randn(2, 3, 64, 64)
    assert "merged or pass through convolutions" in EVIDENCE.unsupported_reason(type(model))
    with pytest.raises(
        MethodError, match="'evidence' does not support this checkpoint: its tokens"
    ):
        EVIDENCE(run_with_trace(model, pixels), TARGET, {})
    with pytest.raises(MethodError, match="choose 'relevance'"):
        accounts(run_with_trace(model, pixels), TARGET)
