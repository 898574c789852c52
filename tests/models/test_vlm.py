"""A model that sees: the image acts where it stands and after, learning reaches all parts, bad input gets words."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.errors import ModelError
from course_lib.interop import from_pretrained, save_pretrained, to_hf
from course_lib.models import VLM, GPTConfig, ImageEncoderConfig, ViTConfig, VLMConfig
from course_lib.models.vlm import split_into_tiles
from course_lib.train import TrainConfig, train
from course_lib.train.losses import caption_loss
from course_lib.tune.completions import completion_examples

IMAGE, END = 10, 11
VISION = ViTConfig(4, 2, d_model=12, n_layers=2, n_heads=2)
TEXT = GPTConfig(12, 32, 16, 2, 2)
FEATURES = {"patches": 4, "all": 5, "pooled": 1}


def model(seed=0, vision=VISION, decoder=TEXT, **options):
    torch.manual_seed(seed)
    return VLM(VLMConfig(vision, decoder, IMAGE, **options)).eval()


def a_text(n_image, before=2, after=3):
    return torch.tensor([[1, 2, 3][:before] + [IMAGE] * n_image + [4, 5, 6, 7][:after]])


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("projector_norm", [False, True])
def test_a_image_acts_where_it_stands_and_after(features, projector_norm):
    ours, n = model(features=features, projector_norm=projector_norm), FEATURES[features]
    ids, images = a_text(n), torch.randn(2, 1, 3, 4, 4)
    first, second = ours(ids, images[0]), ours(ids, images[1])
    assert torch.equal(first[:, :2], second[:, :2])
    assert (first[:, 2:] != second[:, 2:]).any(dim=-1).all()
    # Blind, the image makes no difference anywhere.
    blind = torch.zeros(1, n, 16)
    assert torch.equal(ours(ids, image_vectors=blind), ours(ids, image_vectors=blind.clone()))


def test_images_go_to_their_texts_in_order():
    ours = model()
    images = torch.randn(3, 3, 4, 4)
    ids = torch.tensor([[1, *[IMAGE] * 4, 2, *[IMAGE] * 4, 3], [4, 5, 6, 7, 8, 9, *[IMAGE] * 4, 1], [1] * 11])
    together = ours(ids, images)
    for row, its in ((0, images[:2]), (1, images[2:]), (2, None)):
        torch.testing.assert_close(ours(ids[row : row + 1], its), together[row : row + 1])
    assert not torch.allclose(ours(ids, images[[1, 0, 2]])[0], together[0])
    torch.testing.assert_close(ours(ids[2:]), ours.decoder(ids[2:]))


def test_what_the_decoder_reads():
    ours = model(projector_norm=True)
    images, ids = torch.randn(1, 3, 4, 4), a_text(4)
    vectors = ours.project(ours.encode_images(images))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(1, 4))
    x = ours.insert_images(ids, vectors)
    assert torch.equal(x[:, 2:6], vectors)
    assert torch.equal(x[:, [0, 1, 6]], ours.decoder.token_embedding(ids[:, [0, 1, 6]]))
    assert torch.equal(ours(ids, image_vectors=vectors), ours(ids, images))
    logits, weights = ours(ids, images, return_weights=True)
    torch.testing.assert_close(logits, ours(ids, images))
    assert [tuple(w.shape) for w in weights] == [(1, 2, 9, 9)] * 2


def test_texts_side_by_side_count_from_zero():
    ours, images = model(), torch.randn(2, 3, 4, 4)
    ids = torch.cat((a_text(4), a_text(4, before=1)), dim=1)
    positions = torch.cat((torch.arange(9), torch.arange(8)))[None]
    mask = (torch.arange(17) < 9)[:, None] == (torch.arange(17) < 9)
    together = ours(ids, images, mask, positions=positions)
    torch.testing.assert_close(together[:, :9], ours(ids[:, :9], images[:1]))
    torch.testing.assert_close(together[:, 9:], ours(ids[:, 9:], images[1:]))


def test_features_are_those_of_the_layer():
    images = torch.randn(2, 3, 4, 4)
    for layer in (-3, 0, 1, -1):
        ours = model(features="all", layer=layer)
        assert torch.equal(ours.encode_images(images), ours.vision.features(images, layer))
    assert torch.equal(
        model(features="patches", layer=1).encode_images(images), model().vision.features(images, 1)[:, 1:]
    )
    assert torch.equal(model(features="pooled").encode_images(images)[:, 0], model().vision(images))
    bare = model(vision=ViTConfig(4, 2, d_model=12, n_layers=2, n_heads=2, class_token=False, pool="mean"))
    assert bare.encode_images(images).shape == (2, 4, 12)  # no class token to leave out


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_tiles_in_reading_order(n, rows, columns, channels, size):
    whole = torch.randn(n, channels, rows * size, columns * size)
    cut = split_into_tiles(whole, size).view(n, rows, columns, channels, size, size)
    for row in range(rows):
        for column in range(columns):
            there = whole[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert torch.equal(cut[:, row, column], there)


def test_a_grid_with_one_token_a_tile():
    ours, grid = model(features="pooled"), torch.randn(2, 3, 8, 8)
    ids = torch.tensor([[1] + [IMAGE] * 4 + [2]] * 2)
    logits = ours(ids, split_into_tiles(grid, 4))
    changed = grid.clone()
    changed[0, :, 4:, :4] += 1  # the third tile of the first image
    differs = (ours(ids, split_into_tiles(changed, 4)) != logits).any(dim=-1)
    assert torch.equal(differs, torch.tensor([[False] * 3 + [True] * 3, [False] * 6]))


@pytest.mark.parametrize("options", [{}, {"projector_norm": True}, {"features": "pooled"}])
def test_a_new_model_knows_nothing(options):
    vocab = 200
    ours = model(decoder=GPTConfig(vocab, 32, 64, 2, 4), **options)
    n = FEATURES[options.get("features", "patches")]
    ids = torch.randint(20, vocab, (64, 16))
    ids[:, 3 : 3 + n] = IMAGE
    targets = torch.randint(vocab, ids.shape)
    loss = caption_loss(ours, (ids, targets, torch.randn(64, 3, 4, 4))).mean.item()
    # Logits of variance v cost about v / 2 more than ln(vocab); ours start with v = 1/4.
    assert abs(loss - math.log(vocab)) < 0.25
    vectors = ours.project(ours.encode_images(torch.randn(64, 3, 4, 4)))
    lengths = ours.decoder.token_embedding.weight.norm(dim=1).mean()  # of a token's vector
    assert 0.2 < vectors.norm(dim=-1).mean() / lengths < 5


@pytest.mark.parametrize("frozen", [(), ("vision",), ("vision", "decoder"), ("projector",)])
def test_learning_reaches_all_that_is_not_frozen(frozen):
    ours = model(layer=-1, projector_norm=True).train()
    for part in frozen:
        getattr(ours, part).requires_grad_(False)
    texts = completion_examples([[IMAGE] * 4 + [1]] * 2, [[2, 3], [4]], END, pad_id=END).all()
    caption_loss(ours, (texts.inputs, texts.targets, torch.randn(2, 3, 4, 4))).mean.backward()
    unused = {"vision.norm.weight", "vision.norm.bias"}  # of the pooled features
    for name, parameter in ours.named_parameters():
        reached = parameter.grad is not None and parameter.grad.abs().max() > 0
        assert reached == (name.partition(".")[0] not in frozen and name not in unused), name


def test_a_frozen_tower_keeps_its_statistics():
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 2, 2), torch.nn.BatchNorm2d(5), torch.nn.Flatten())
    ours = VLM(VLMConfig(None, TEXT, IMAGE, d_vision=20), tower)
    ids, images = a_text(1).repeat(3, 1), torch.randn(3, 3, 4, 4)
    ours.vision.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    ours.train()(ids, images)
    assert ours.decoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())
    ours.vision.requires_grad_(True)
    ours.train()(ids, images)
    assert not torch.equal(tower[1].running_mean, before["1.running_mean"])


def test_the_answer_is_in_the_image():
    """Learned with images, at chance without: the colour of the one tile that is not black."""
    torch.manual_seed(0)
    ours = model(decoder=GPTConfig(12, 8, 32, 1, 4), features="pooled", projector_norm=True)

    def batch(generator, n=32):
        colour, place = torch.randint(3, (2, n), generator=generator)
        grid = torch.zeros(n, 3, 8, 8)
        rows, columns = place // 2 * 4, place % 2 * 4
        for i in range(n):
            grid[i, colour[i], rows[i] : rows[i] + 4, columns[i] : columns[i] + 4] = 1
        texts = completion_examples([[IMAGE] * 4 + [1]] * n, [[2 + int(c)] for c in colour], END).all()
        return texts.inputs, texts.targets, split_into_tiles(grid, 4)

    train(ours, batch, caption_loss, TrainConfig(steps=60, lr=3e-3, warmup_steps=5))
    ours.eval()
    ids, targets, images = batch(torch.Generator().manual_seed(99), 300)
    asked = targets[:, 4]
    right = (ours(ids, images)[:, 4].argmax(dim=-1) == asked).float().mean()
    shuffled = (ours(ids, images.roll(4, 0))[:, 4].argmax(dim=-1) == asked).float().mean()
    blind = (ours(ids, torch.zeros_like(images))[:, 4].argmax(dim=-1) == asked).float().mean()
    assert right > 0.95
    assert shuffled < 0.5  # 5 standard errors above 1/3 are 0.47
    assert blind < 0.5


def test_a_tower_of_any_kind(tmp_path):
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 2, 2), torch.nn.Flatten(2))  # "images 6 4", wide 4
    config = VLMConfig(None, TEXT, IMAGE, d_vision=4)
    ours = VLM(config, tower)
    assert ours(a_text(6), torch.randn(1, 1, 4, 4)).shape == (1, 11, 12)
    with pytest.raises(ModelError, match="could not be read again: the model has no vision tower"):
        save_pretrained(ours, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    wide = VLM(VLMConfig(None, TEXT, IMAGE, d_vision=5), tower)
    with pytest.raises(ValueError, match=r"the vision tower gives \(1, 6, 4\), not \(images, tokens, 5\)"):
        wide(a_text(6), torch.randn(1, 1, 4, 4))
    with pytest.raises(ValueError, match="no vision tower; pass it"):
        VLM(config)
    with pytest.raises(ValueError, match="two vision towers"):
        VLM(VLMConfig(VISION, TEXT, IMAGE), tower)
    replaced = model()
    replaced.vision = tower
    with pytest.raises(ModelError, match="a part of the VLM was replaced"):
        save_pretrained(replaced, tmp_path / "new")


@pytest.mark.parametrize("options", [{}, {"projector_norm": True, "features": "pooled"}, {"projector_bias": False}])
@pytest.mark.parametrize("position", ["learned", "rope"])
def test_any_vlm_can_be_saved(tmp_path, options, position):
    ours = model(decoder=GPTConfig(12, 32, 16, 2, 2, position=position), **options)
    save_pretrained(ours, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == ours.config
    n = FEATURES[options.get("features", "patches")]
    ids, images = a_text(n), torch.randn(1, 3, 4, 4)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    # Some processors add in another order where a tensor begins at another address, as one from a file does.
    torch.testing.assert_close(again(ids, images), ours(ids, images), rtol=1e-5, atol=1e-5)


def test_an_image_encoder_as_eyes(tmp_path):
    torch.manual_seed(0)
    ours = VLM(VLMConfig(ImageEncoderConfig(8, 4, 6), TEXT, IMAGE, projector_norm=True))
    ids, grid = a_text(4), torch.rand(1, 3, 16, 16)
    ours.vision.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in ours.vision.state_dict().items()}
    caption_loss(ours.train(), (ids, ids, split_into_tiles(grid, 8))).mean.backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.vision.state_dict().items())
    with pytest.raises(ModelError, match="llava cannot hold this model: it needs a ViTConfig"):
        to_hf(ours, tmp_path)
    save_pretrained(ours.eval(), tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == ours.config
    assert torch.equal(again(ids, split_into_tiles(grid, 8)), ours(ids, split_into_tiles(grid, 8)))


@pytest.mark.parametrize(
    ("n_image", "n_images", "message"),
    [
        (3, 1, r"1 images of 4 image tokens each make 4, but the texts have 3 \(10\); put 4 for every image"),
        (8, 1, "make 4, but the texts have 8"),
        (0, 1, "make 4, but the texts have 0"),
        (4, 2, "make 8, but the texts have 4"),
        (4, 0, "make 0, but the texts have 4"),
        (4, None, "the texts have 4 image tokens, but no image came with them"),
    ],
)
def test_images_that_do_not_match_the_text(n_image, n_images, message):
    images = None if n_images is None else torch.randn(n_images, 3, 4, 4)
    with pytest.raises(ValueError, match=message):
        model()(a_text(n_image), images)


def test_other_input_that_cannot_be(tmp_path):
    ours, ids, images = model(), a_text(4), torch.randn(1, 3, 4, 4)
    two = torch.tensor([[IMAGE] * 3 + [1] * 3, [IMAGE] * 5 + [1]])
    with pytest.raises(ValueError, match="text 0 has 3 image tokens, no multiple of the 4 of an image"):
        ours(two, torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match="pass one of them"):
        ours(ids, images, image_vectors=torch.zeros(1, 4, 16))
    with pytest.raises(ValueError, match="the model needs at least one token"):
        ours(ids[:, :0], images)
    with pytest.raises(ValueError, match="token ids run from 1 to 12"):
        ours(torch.tensor([[1, 12]]))
    with pytest.raises(ValueError, match="40 tokens, but the model has 32 positions"):
        ours(torch.ones(1, 40, dtype=torch.int64))
    with pytest.raises(ValueError, match="8 by 8 pixels, but the model reads 4 by 4"):
        ours(ids, torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match="8 by 6 pixels cannot be cut into tiles of 4 by 4"):
        split_into_tiles(torch.zeros(1, 3, 8, 6), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_token": 12}, "image_token=12 is not in the vocabulary of 12 tokens"),
        ({"image_token": -1}, "image_token=-1"),
        ({"features": "cls"}, 'features="cls" is not supported; use one of patches, all, pooled'),
        ({"projector_activation": "mish"}, 'projector_activation="mish" is not supported'),
        ({"layer": 3}, "the ViT has 2 layers, so there is no layer=3"),
        ({"layer": -4}, "no layer=-4"),
        ({"d_vision": 13}, "d_vision=13 is not the d_model=12 of the tower"),
        ({"vision": None}, "d_vision must say how wide"),
        ({"vision": ViTConfig(4, 2, d_model=12, n_heads=2, n_classes=3)}, "leave n_classes=3 out"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        VLMConfig(**{"vision": VISION, "decoder": TEXT, "image_token": IMAGE} | changes)
