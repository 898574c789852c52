"""timm's models: its ViT is ours, and any other makes the tokens of a vision tower."""

import sys

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import quick, seeds
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from course_lib.errors import ModelError
from course_lib.interop import from_timm, load_timm_weights
from course_lib.models.vision_tower import VisionTower

TINY = {"img_size": 6, "patch_size": 2, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 3}

timm_vit = st.builds(
    lambda head, heads, token, pool, **rest: {
        "embed_dim": head * heads,
        "num_heads": heads,
        "class_token": token,
        "global_pool": pool if token else "avg",
        **rest,
    },
    head=st.integers(1, 6),
    heads=st.integers(1, 4),
    token=st.booleans(),
    pool=st.sampled_from(["token", "avg"]),
    fc_norm=st.sampled_from([None, True, False]),
    pre_norm=st.booleans(),
    qkv_bias=st.booleans(),
    img_size=st.integers(4, 12),
    patch_size=st.integers(1, 4),
    in_chans=st.integers(1, 4),
    num_classes=st.integers(0, 4),
    depth=st.integers(1, 3),
    mlp_ratio=st.sampled_from([0.5, 3.0, 4.0]),
    act_layer=st.sampled_from(["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]),
)


def random_vit(seed=0, **settings):
    torch.manual_seed(seed)
    model = VisionTransformer(**settings)
    for name, parameter in model.named_parameters():
        parameter.data.normal_(1.0 if "norm" in name else 0.0, 0.4)
    return model.eval()


def assert_close(ours, expected):
    # Relative to the largest: sums of up to 200 float32 products in another order stay well below 1e-5.
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@torch.no_grad()
def assert_same(theirs):
    ours = from_timm(theirs)
    assert not ours.training
    size = theirs.patch_embed.img_size[0]
    x = torch.randn(2, ours.config.channels, size, size)
    assert_close(ours(x), theirs(x))
    layers = theirs.forward_intermediates(x, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True)
    for k, layer in enumerate(layers, start=1):
        tokens = layer if ours.class_token is None else torch.cat((layer[1], layer[0]), dim=1)
        assert_close(ours.features(x, k), tokens)


@quick
@given(timm_vit, seeds)
def test_the_vit_of_timm(settings, seed):
    assert_same(random_vit(seed, **settings))


# Every setting of timm's VisionTransformer that changes what it computes; None: ours can do it too.
SETTINGS = {
    "img_size": [(8, None), ((6, 8), "img_size=")], "patch_size": [(3, None), ((2, 3), "patch_size=")],
    "in_chans": [(1, None)], "num_classes": [(0, None)], "embed_dim": [(4, None)], "depth": [(1, None)],
    "num_heads": [(4, None)], "mlp_ratio": [(2.5, None)], "qkv_bias": [(False, None)], "pre_norm": [(True, None)],
    "global_pool": [("avg", None), ("avgmax", "global_pool=avgmax"), ("max", "global_pool=max"),
                    ("map", "AttentionPoolLatent"), ("prr", "AttentionPoolPrr")],
    "qk_norm": [(True, r"attn\.q_norm")], "scale_attn_norm": [(True, r"attn\.norm")],
    "scale_mlp_norm": [(True, r"mlp\.norm")], "proj_bias": [(False, r"attn\.proj\.bias is missing")],
    "init_values": [(0.1, "LayerScale")], "pos_embed": [("none", "pos_embed is missing")],
    "no_embed_class": [(True, "no_embed_class=True")], "reg_tokens": [(2, "reg_tokens=2")],
    "final_norm": [(False, "final_norm=False")], "fc_norm": [(True, None)],
    "pool_include_prefix": [(True, "pool_include_prefix=True")], "dynamic_img_size": [(True, None)],
    "dynamic_img_pad": [(True, "dynamic_img_pad=True")], "embed_norm_layer": [("layernorm", r"patch_embed\.norm")],
    "norm_layer": [("rmsnorm", "RmsNorm")], "mlp_layer": [(timm.layers.GluMlp, "GluMlp")],
    "act_layer": [("relu", None), ("mish", "Mish"), (lambda: torch.nn.GELU("tanh"), "approximate=tanh")],
    "block_fn": [(timm.models.vision_transformer.ResPostBlock, "ResPostBlock")],
    "attn_layer": [("diff", "DiffAttention")], "class_token": [(False, None)],
    # In training only, or before it.
    "drop_rate": [(0.5, None)], "pos_drop_rate": [(0.5, None)], "patch_drop_rate": [(0.5, None)],
    "proj_drop_rate": [(0.5, None)], "attn_drop_rate": [(0.5, None)], "drop_path_rate": [(0.5, None)],
    "weight_init": [("moco", None)], "fix_init": [(True, None)], "device": [("cpu", None)],
    "dtype": [(torch.float32, None)], "embed_layer": [],
}  # fmt: skip


def test_every_setting_of_timm_is_known_here():
    code = VisionTransformer.__init__.__code__
    assert set(code.co_varnames[1 : code.co_argcount]) == SETTINGS.keys()


@pytest.mark.parametrize(("name", "value", "refusal"), [(n, *case) for n, cases in SETTINGS.items() for case in cases])
def test_every_setting_of_timm_counts_or_is_refused(name, value, refusal):
    pool = {"global_pool": "avg"} if name in ("class_token", "pool_include_prefix") else {}
    theirs = random_vit(**TINY | pool | {name: value})
    if refusal is None:
        assert_same(theirs)
    else:
        with pytest.raises(ModelError, match=refusal):
            from_timm(theirs)


def test_other_models_are_not_taken_for_the_vit():
    with pytest.raises(ModelError, match="ResNet"):
        from_timm(timm.create_model("test_resnet"))
    with pytest.raises(ModelError, match="VisionTransformerDistilled"):
        from_timm(timm.create_model("deit_tiny_distilled_patch16_224", embed_dim=8, depth=1, num_heads=1))


def test_the_weights_are_copies():
    theirs = random_vit(**TINY)
    ours = from_timm(theirs)
    before = ours.head.weight.clone()
    theirs.head.weight.data.zero_()
    assert torch.equal(ours.head.weight, before)


# A ViT, one with registers and no class token, three convolutional networks, a map with channels last, a hybrid, and
# VOLO, which hides its class token: with the pixels that one token stands for.
TOWERS = {
    "test_vit": (96, 16), "test_vit2": (96, 16), "test_resnet": (96, 32), "test_convnext": (96, 32),
    "test_efficientnet": (96, 32), "test_mambaout": (64, 32), "swin_s3_tiny_224": (224, 32), "volo_d1_224": (96, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_a_token_for_each_place(name):
    """Changing the lower right corner of an image changes the last token the most: order and axes are right."""
    torch.manual_seed(0)
    size, stride = TOWERS[name]
    if name == "swin_s3_tiny_224":  # not that tiny
        tower = VisionTower(timm.create_model(name, depths=(1, 1, 1, 1), embed_dim=12, num_heads=(1, 1, 1, 1)))
    else:
        tower = VisionTower(name, size)
    tower.eval()
    x = torch.rand(2, 3, size, size)
    tokens = tower(x)
    assert tokens.shape == (2, (size // stride) ** 2, tower.d_model) == (2, tower.n_tokens, tower.model.num_features)
    corner = x.clone()
    corner[0, :, -stride:, -stride:] = 1 - corner[0, :, -stride:, -stride:]
    change = (tower(corner) - tokens).abs().sum(-1)
    assert change[0].argmax() == tower.n_tokens - 1
    assert (change[1] == 0).all()  # the other image


@torch.no_grad()
def test_a_tower_is_the_model_with_normalised_images():
    torch.manual_seed(0)
    tower = VisionTower("test_resnet", 64).eval()
    x = torch.rand(1, 3, 64, 64)
    normalise = timm.data.create_transform(**timm.data.resolve_data_config(model=tower.model)).transforms[-1]
    expected = tower.model.forward_features(normalise(x))
    assert_close(tower(x), expected.flatten(2).transpose(1, 2))


def test_a_tower_learns_and_moves_as_one_module():
    tower = VisionTower("test_vit", 32)
    assert tower.model.training  # trying it out has changed nothing
    tower(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None for name, p in tower.named_parameters() if "fc_norm" not in name)
    assert {name.split(".")[0] for name in tower.state_dict()} == {"model"}  # mean and deviation are no weights
    assert tower.double()(torch.rand(1, 3, 32, 32, dtype=torch.float64)).dtype == torch.float64


def test_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    trained = timm.create_model("test_vit", num_classes=7, img_size=32)
    file = tmp_path / "model.safetensors"
    save_file(trained.state_dict(), file)
    tower = VisionTower("test_vit", 32)
    load_timm_weights(tower, file)
    for name, tensor in tower.model.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]), name
    with pytest.raises(ModelError, match=r"has no nothing\.safetensors"):
        load_timm_weights(tower, tmp_path / "nothing.safetensors")
    with pytest.raises(ModelError, match=r"pos_embed has the shape \(1, 5, 64\), not \(1, 10, 64\)"):
        load_timm_weights(VisionTower("test_vit", 48), file)
    state = trained.state_dict()
    del state["cls_token"]
    save_file(state | {"other": torch.ones(1)}, file)
    with pytest.raises(ModelError, match="cls_token is missing; other is left over"):
        load_timm_weights(tower, file)
    file.write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_timm_weights(tower, file)


@pytest.mark.parametrize(
    ("make", "size", "match"),
    [
        ("test_vti", None, 'timm has no model "test_vti"'),
        ("hf-hub:timm/test_vit.r160_in1k", None, "timm has no model"),
        ("efficientvim_m1", None, "EfficientViM gives features of several kinds"),
        ("pit_ti_224", 64, "PoolingVisionTransformer gives one token"),
        ("efficientformerv2_s0", 100, "cannot read images of 100 by 100 .*name another"),
        (lambda: torch.nn.Linear(2, 2), None, "Linear is no model of timm"),
        (lambda: random_vit(**TINY), 6, "VisionTransformer is no model of timm"),
        (lambda: timm.create_model("vit_tiny_patch16_224", depth=1), 96, "cannot read images of 96 by 96"),
        ("test_vit", 0, "image_size=0 must be at least 1, or None for the size of the training images"),
    ],
)
def test_what_cannot_be_a_tower(make, size, match):
    with pytest.raises(ModelError, match=match):
        VisionTower(make if isinstance(make, str) else make(), size)


def test_timm_is_asked_for_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="pip install timm"):
        VisionTower("test_vit")


def test_images_on_another_scale_are_refused():
    tower = VisionTower("test_vit", 32)
    for images, match in (
        (torch.rand(1, 3, 32, 32) * 255, "not from 0 to 1; divide bytes by 255"),
        (torch.randn(1, 3, 32, 32) * 2, "leave mean and deviation to the tower"),
        (torch.rand(1, 3, 48, 48), "48 by 48 pixels, but the model reads 32 by 32"),
    ):
        with pytest.raises(ValueError, match=match):
            tower(images)
    tower(torch.rand(1, 3, 32, 32) * 1.1 - 0.05)  # as bicubic resizing leaves them
