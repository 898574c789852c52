"""Mixture of experts: the layer against a loop over tokens, its losses against closed forms, and what balances it."""

import copy
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import dense_equivalent
from course_lib.nn.feed_forward import GatedFeedForward
from course_lib.nn.kernels import experts as products
from course_lib.nn.moe import (
    MoE,
    count_active_parameters,
    expert_loads,
    load_balancing_loss,
    mix_experts,
    moe_layers,
    route,
    router_z_loss,
    routings,
    update_selection_bias,
    update_selection_biases,
)
from course_lib.train import TrainConfig, next_token_loss, train

# Sums of up to 48 float32 products of numbers near 1, in another order: some 48 roundings of 6e-8.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
quick = settings(max_examples=40, deadline=None)
SMALL = {"vocab_size": 11, "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 8, "position": "rope", "norm": "rms"}
SMALL |= {"activation": "swiglu", "bias": False, "n_experts": 4}

layers = st.builds(
    lambda choice, gated, d_shared, **rest: {
        "n_experts": max(choice),
        "top_k": min(choice),
        "d_shared": d_shared,
        "shared_gate": gated and d_shared > 0,
        **rest,
    },
    d_model=st.sampled_from([1, 3, 8, 16]),  # with and without the 16 bytes that torch's grouped product asks for
    d_ff=st.sampled_from([1, 5, 8, 24]),
    choice=st.lists(st.integers(1, 6), min_size=2, max_size=2),
    norm_topk_prob=st.booleans(),
    d_shared=st.sampled_from([0, 7]),
    gated=st.booleans(),
    capacity_factor=st.sampled_from([None, 0.4, 1.0, 1.5]),
    balanced_by_bias=st.booleans(),
)


def layer_of(seed=0, **options):
    torch.manual_seed(seed)
    layer = MoE(**{"d_model": 8, "d_ff": 5, "n_experts": 4} | options)
    if layer.selection_bias is not None:
        layer.selection_bias.normal_(std=0.3)
    return layer


def one_by_one(layer, x):
    """What the layer computes, token by token, in words of its own."""
    n_experts, out = len(layer.gate), torch.zeros_like(x)
    room = [math.inf] * n_experts
    if layer.capacity_factor is not None:
        room = [math.ceil(layer.capacity_factor * len(x) * layer.top_k / n_experts)] * n_experts
    shares = (x @ layer.router.weight.T).softmax(-1)
    rank = shares if layer.selection_bias is None else shares + layer.selection_bias
    chosen = [sorted(range(n_experts), key=lambda e, t=t: -rank[t, e].item())[: layer.top_k] for t in range(len(x))]
    for k in range(layer.top_k):
        for t, token in enumerate(x):
            expert = chosen[t][k]
            room[expert] -= 1
            if room[expert] < 0:
                continue
            weight = shares[t, expert] / (shares[t, chosen[t]].sum() if layer.norm_topk_prob else 1)
            hidden = F.silu(layer.gate[expert] @ token) * (layer.up[expert] @ token)
            out[t] = out[t] + weight * (layer.down[expert] @ hidden)
    if layer.shared is not None:
        scale = 1 if layer.shared_gate is None else torch.sigmoid(x @ layer.shared_gate.weight.T)
        out = out + scale * layer.shared(x)
    return out


def gradients(layer, function, x):
    x = x.clone().requires_grad_()
    out = function(x)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    found = torch.autograd.grad(out.cos().sum(), [x, *parameters], allow_unused=True)
    zeros = [torch.zeros_like(p) for p in (x, *parameters)]
    return out, dict(
        zip(("x", *names), (z if g is None else g for g, z in zip(found, zeros, strict=True)), strict=True)
    )


@quick
@given(layers, st.integers(1, 12), st.integers(0, 2**31), st.booleans())
def test_the_layer_is_a_loop_over_tokens(options, n, seed, grouped):
    layer = layer_of(seed, **options)
    x = torch.randn(n, layer.router.in_features)
    with pytest.MonkeyPatch.context() as patch:
        if not grouped:
            patch.setattr(products, "_grouped_mm_takes", lambda rows, weight: False)
        out, gradient = gradients(layer, layer, x)
    expected, expected_gradient = gradients(layer, lambda x: one_by_one(layer, x), x)
    assert_close(out, expected, **CLOSE)
    for name in expected_gradient:
        assert_close(gradient[name], expected_gradient[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


@quick
@given(st.integers(1, 6), st.integers(1, 40), st.sampled_from([1, 16]), st.data())
def test_rows_of_experts_are_in_order_and_whole_multiples(n_experts, n, multiple, data):
    top_k = data.draw(st.integers(1, n_experts))
    experts = torch.stack([torch.randperm(n_experts)[:top_k] for _ in range(n)])
    row_of_choice, token_of_row, ends = products.sort_by_expert(experts, n_experts, multiple)
    assert (token_of_row[row_of_choice] == torch.arange(n)[:, None]).all()
    assert (token_of_row < n).sum() == row_of_choice.unique().numel() == n * top_k
    assert (torch.searchsorted(ends, row_of_choice.int(), right=True) == experts).all()
    assert (ends % multiple == 0).all()
    assert (
        ends[-1] == len(token_of_row) == len(products.sort_by_expert(torch.zeros_like(experts), n_experts, multiple)[1])
    )
    assert multiple > 1 or len(token_of_row) == n * top_k


def test_any_shape_of_batch():
    layer, x = layer_of(), torch.randn(2, 3, 8)
    assert_close(layer(x), layer(x.view(6, 8)).view(2, 3, 8), **CLOSE)
    assert_close(layer(x)[1, 2], layer(x[1, 2]), **CLOSE)  # without a capacity, the others do not matter
    assert layer(x[:0]).shape == (0, 3, 8)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.data())
def test_grouped_experts_give_what_the_plain_form_gives(n_experts, n, data):
    top_k = data.draw(st.integers(1, n_experts))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    shapes = [(n, 8), (n_experts, 5, 8), (n_experts, 5, 8), (n_experts, 8, 5)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    experts = torch.rand(n, n_experts).topk(top_k).indices
    weights = torch.rand(n, top_k, dtype=torch.float64, requires_grad=True)
    plain, fast = mix_experts(*inputs, experts, weights), products.grouped_experts(*inputs, experts, weights)
    assert_close(fast, plain)
    pull = torch.randn_like(plain)
    for a, b in zip(*(torch.autograd.grad(y, [*inputs, weights], pull) for y in (fast, plain)), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("d_ff", [5, 8])  # without and with torch's grouped product
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_tokens_have_no_gradient(d_ff, dtype):
    layer, x = layer_of(d_ff=d_ff).to(dtype), torch.randn(0, 3, 8, dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == (0, 3, 8)
    assert all((parameter.grad == 0).all() for parameter in layer.parameters())


def test_the_order_of_the_experts_does_not_matter():
    layer, x, order = layer_of(balanced_by_bias=True), torch.randn(9, 8), torch.tensor([2, 0, 3, 1])
    expected = layer(x)
    for weight in (*layer.expert_weights, layer.router.weight, layer.selection_bias):
        weight.data = weight.data[order]
    assert_close(layer(x), expected, **CLOSE)


def test_equal_experts_are_one_dense_network():
    layer, dense = layer_of(top_k=3), GatedFeedForward(8, 5)
    for stack, linear in zip(layer.expert_weights, (dense.gate, dense.up, dense.down), strict=True):
        stack.data = linear.weight.data.expand_as(stack).clone()
    x = torch.randn(9, 8)
    assert_close(layer(x), dense(x), **CLOSE)
    layer.norm_topk_prob = False
    layer(x)
    assert_close(layer(x), layer.routing.weights.sum(-1, keepdim=True) * dense(x), **CLOSE)


def test_an_expert_that_nobody_chose_learns_nothing():
    layer, x = layer_of(top_k=1), torch.randn(9, 8)
    x[:, 0] = 5.0
    layer.router.weight.data[:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    layer(x).sum().backward()
    used = expert_loads(layer.routing) > 0
    assert used.tolist() == [True, False, True, False]
    for stack in layer.expert_weights:
        assert (stack.grad[~used] == 0).all()
        assert (stack.grad[used] != 0).any(dim=-1).all()


def test_capacity_serves_first_choices_first_and_then_by_position():
    logits = torch.tensor([[3.0, 2.0, 0.0], [2.0, 3.0, 0.0], [3.0, 2.0, 0.0], [0.0, 3.0, 2.0]])
    routing = route(logits, 2, capacity=2)
    assert routing.experts.tolist() == [[0, 1], [1, 0], [0, 1], [1, 2]]
    # Expert 0 serves tokens 0 and 2, whose first choice it is, and not token 1, though that comes before token 2.
    assert (routing.weights > 0).tolist() == [[True, False], [True, False], [True, False], [True, True]]
    kept = route(logits, 2).weights
    assert_close(routing.weights[routing.weights > 0], kept[routing.weights > 0], rtol=0, atol=0)
    assert (route(logits, 2, capacity=4).weights > 0).all()


def test_weights_are_shares_of_the_softmax():
    logits = torch.randn(9, 5)
    raw, normalised = route(logits, 2, norm_topk_prob=False), route(logits, 2)
    assert_close(raw.weights, logits.softmax(-1).sort(descending=True).values[:, :2], rtol=0, atol=0)
    assert_close(normalised.weights, logits.topk(2).values.softmax(-1))  # Mixtral's own formula
    assert_close(route(logits, 5, norm_topk_prob=False).weights.sum(-1), torch.ones(9))


def test_a_uniform_router_costs_top_k_and_a_collapsed_one_the_number_of_experts():
    for n, top_k in ((4, 1), (4, 2), (8, 8)):
        assert load_balancing_loss(torch.zeros(7, n), top_k).item() == pytest.approx(top_k)
        assert router_z_loss(torch.zeros(7, n)).item() == pytest.approx(math.log(n) ** 2)
    everyone_to_one = torch.tensor([[100.0, 0.0, 0.0, 0.0]]).expand(7, 4)
    assert load_balancing_loss(everyone_to_one, 1).item() == pytest.approx(4)
    assert router_z_loss(everyone_to_one).item() == pytest.approx(100**2)


def test_losses_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]]).log()
    # Shares of tokens 2/3, 0, 1/3; mean probabilities 1.1/3, 0.85/3, 1.05/3.
    assert load_balancing_loss(logits, 1).item() == pytest.approx(3 * (2 * 1.1 + 1 * 1.05) / 9)
    assert load_balancing_loss(logits, 2).item() == pytest.approx(3 * (2 * 1.1 + 3 * 0.85 + 1 * 1.05) / 9, rel=1e-5)
    shifted = logits + torch.tensor([[1.0], [2.0], [0.0]])  # softmax sees no shift, logsumexp is the shift
    assert load_balancing_loss(shifted, 1).item() == pytest.approx(3 * (2 * 1.1 + 1 * 1.05) / 9)
    assert router_z_loss(shifted).item() == pytest.approx((1 + 4 + 0) / 3, rel=1e-5)


def test_descending_the_balancing_loss_spreads_the_load():
    torch.manual_seed(0)
    x, router = torch.randn(256, 8), torch.randn(6, 8)
    router[0] *= 4  # the expert that wins by far
    router.requires_grad_()
    before = expert_loads(route(x @ router.T, 1))
    for _ in range(100):
        (gradient,) = torch.autograd.grad(load_balancing_loss(x @ router.T, 1), router)
        router.data -= gradient
    after = expert_loads(route(x @ router.T, 1))
    assert before.max() > 2 / 6
    assert after.max() < 1.3 / 6


def test_the_bias_chooses_but_does_not_weigh():
    logits, bias = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0.0, 0.0, 1.0])
    routing = route(logits, 2, norm_topk_prob=False, bias=bias)
    assert routing.experts.tolist() == [[2, 0]]
    assert_close(routing.weights, logits.softmax(-1)[:, [2, 0]], rtol=0, atol=0)
    hopeless = route(torch.tensor([[0.0, -200.0, -200.0]]), 2, bias=torch.tensor([-2.0, 0.0, 0.0]))
    assert hopeless.weights.isfinite().all()  # both scores are 0 in float32


def test_updating_the_bias_evens_the_loads_without_a_gradient():
    assert_close(
        update_selection_bias(torch.zeros(3), torch.tensor([0.5, 0.3, 0.2]), 0.01), torch.tensor([-0.01, 0.01, 0.01])
    )
    assert update_selection_bias(torch.tensor([0.2, -0.2]), torch.tensor([0.5, 0.5])).tolist() == pytest.approx(
        [0.2, -0.2]
    )
    layer = layer_of(top_k=1, balanced_by_bias=True)
    layer.selection_bias.zero_()
    x = torch.randn(256, 8)
    x[:, 0] = 2.0
    layer.router.weight.data[0, 0] = 1.0  # everybody likes expert 0 best
    layer(x)
    before, weights = expert_loads(layer.routing), copy.deepcopy(layer.router.weight)
    for _ in range(300):
        layer(x)
        update_selection_biases(layer, 0.005)
    after = expert_loads(layer.routing)
    assert before.max() > 2 / 4
    assert after.max() < 1.2 / 4
    assert torch.equal(layer.router.weight, weights)
    assert not layer.selection_bias.requires_grad


@pytest.mark.parametrize("n_batches", [1, 2, 5])
def test_the_bias_sees_every_batch_of_a_step(n_batches):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, balanced_by_bias=True))
    windows = torch.randint(11, (10, 7))
    windows[:2] = 3  # the first batches are unlike the last
    at_once, accumulated = copy.deepcopy(model), copy.deepcopy(model)
    for one, n in ((at_once, 1), (accumulated, n_batches)):
        batches = iter(windows.chunk(n))
        config = TrainConfig(1, lr=0.1, gradient_accumulation_steps=n)
        train(
            one,
            lambda generator, batches=batches: next(batches),
            next_token_loss,
            config,
            after_step=lambda step, metrics, model=one: update_selection_biases(model),
        )
    for one, other in zip(moe_layers(at_once), moe_layers(accumulated), strict=True):
        assert one.selection_bias.count_nonzero() > 0
        assert torch.equal(one.selection_bias, other.selection_bias)


def test_what_is_no_training_leaves_the_bias():
    layer, x = layer_of(balanced_by_bias=True), torch.randn(50, 8)
    layer.selection_bias.zero_()
    layer.eval()(x)
    update_selection_biases(layer)
    assert layer.selection_bias.tolist() == [0.0] * 4
    layer.train()(x)
    update_selection_biases(layer)
    once = layer.selection_bias.clone()
    assert once.count_nonzero() > 0
    update_selection_biases(layer)  # no choices since then
    assert torch.equal(layer.selection_bias, once)


@pytest.mark.parametrize("d_ff", [5, 24])  # without and with torch's grouped product
def test_bfloat16(d_ff):
    layer, x = layer_of(d_ff=d_ff, d_shared=6), torch.randn(50, 8)
    exact = layer(x)
    experts = layer.routing.experts
    with torch.autocast("cpu", torch.bfloat16):
        rough, routed = layer(x), layer.routing
        assert routed.logits.dtype == routed.weights.dtype == torch.float32
        assert load_balancing_loss(routed.logits, 2).item() == load_balancing_loss(routed.logits.clone(), 2).item()
    assert torch.equal(routed.experts, experts)  # the router does not round
    assert rough.dtype == torch.bfloat16
    # Eight bits of mantissa: 0.4% a rounding, some five of them on the way.
    assert (rough - exact).abs().max() < 0.03 * exact.abs().max()
    rounded = x.bfloat16()
    exact, halved = layer(rounded.float()), layer.bfloat16()
    assert (halved(rounded) - exact).abs().max() < 0.05 * exact.abs().max()
    assert_close(halved.routing.logits, rounded.float() @ halved.router.weight.float().T, rtol=1e-6, atol=1e-6)


def test_the_losses_do_not_round_under_autocast():
    logits = torch.randn(50, 6)
    expected = load_balancing_loss(logits, 2), router_z_loss(logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert (load_balancing_loss(logits, 2), router_z_loss(logits)) == expected


def model_of(**changes):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL | changes))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


IDS = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(1))


def loss_of(model, run=None):
    logits = (run or model)(IDS)
    auxiliary = sum(load_balancing_loss(r.logits, 2) + router_z_loss(r.logits) for r in routings(model))
    return F.cross_entropy(logits.flatten(0, 1), IDS.flatten()) + 0.1 * auxiliary


def test_later_tokens_do_not_matter():
    model = model_of(d_shared=8, shared_gate=True)
    assert_close(model(IDS)[:, :5], model(IDS[:, :5]), **CLOSE)


def test_the_routings_of_a_model_reach_the_routers():
    model = model_of()
    loss_of(model).backward()
    assert [r.experts.shape for r in routings(model)] == [(18, 2), (18, 2)]
    for block in model.blocks:
        assert (block.feed_forward.router.weight.grad != 0).all()


def test_checkpointing_changes_no_gradient():
    model = model_of()
    loss_of(model).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for block in model.blocks:
        plain = block.forward
        block.forward = lambda x, *a, plain=plain, **o: checkpoint(plain, x, *a, use_reentrant=False, **o)
    loss_of(model).backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, expected[name]), name


def test_a_model_that_has_run_can_be_copied():
    model = model_of()
    model(IDS)
    twin = copy.deepcopy(model)
    assert routings(model)
    with pytest.raises(ValueError, match="has not run yet"):
        routings(twin)
    assert torch.equal(twin(IDS), model(IDS))


def test_compiled_in_one_graph():
    """In a process of its own: here, shapes are checked in ways that cannot be compiled."""
    program = """
import torch
from course_lib.nn.moe import MoE, routings
torch.manual_seed(0)
layer, x = MoE(8, 8, 4, capacity_factor=1.0, balanced_by_bias=True).bfloat16(), torch.randn(20, 8).bfloat16()
expected, routing = layer(x), layer.routing
compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
layer.routing = None
assert torch.equal(compiled(x), expected)
assert torch.equal(routings(layer)[0].weights, routing.weights)
assert routings(layer)[0].logits.requires_grad
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_new_model_knows_nothing():
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL | {"vocab_size": 100, "d_model": 64, "d_ff": 96, "d_shared": 32}))
    ids = torch.randint(100, (8, 65))
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(100), abs=0.5)  # as for every GPT
    assert max(expert_loads(r).max() for r in routings(model)) < 2 / 4
    for block in model.blocks:  # as for dense layers: the variance is kept, and the four branches add up to about one
        found = [stack.std().item() for stack in block.feed_forward.expert_weights]
        assert found == pytest.approx([1 / 8, 1 / 8, 1 / math.sqrt(4 * 96)], rel=0.03)  # 1 / sqrt(2 n) is 0.005


def test_active_parameters_and_the_dense_equivalent():
    config = GPTConfig(**SMALL | {"n_experts": 6, "top_k": 3, "d_shared": 5, "shared_gate": True})
    model, dense = GPT(config), GPT(dense_equivalent(config))
    routers = 2 * 16 * (6 + 1)
    assert (
        count_active_parameters(model) - routers
        == count_active_parameters(dense)
        == sum(p.numel() for p in dense.parameters())
    )
    assert sum(p.numel() for p in model.parameters()) - count_active_parameters(model) == 2 * 3 * (3 * 16 * 8)
    assert isinstance(dense.blocks[0].feed_forward, GatedFeedForward)
    with pytest.raises(ValueError, match="has no experts"):
        dense_equivalent(dense.config)


def test_mixtral_has_47_billion_parameters_of_which_a_token_meets_13():
    """Jiang et al. 2024, abstract."""
    config = GPTConfig(32000, d_model=4096, n_layers=32, n_heads=32, n_kv_heads=8, d_ff=14336, n_experts=8,
                       tie_embeddings=False, position="rope", norm="rms", activation="swiglu", bias=False)  # fmt: skip
    with torch.device("meta"):
        model = GPT(config)
    assert round(sum(p.numel() for p in model.parameters()) / 1e9) == 47
    assert round(count_active_parameters(model) / 1e9) == 13


def test_sentences():
    for options, sentence in (
        ({"top_k": 5}, "top_k=5 must lie between 1 and n_experts=4"),
        ({"top_k": 0}, "top_k=0 must lie between 1 and n_experts=4"),
        ({"shared_gate": True}, "shared_gate=True needs a shared expert; set d_shared"),
        ({"capacity_factor": 0.0}, "capacity_factor=0.0 must be more than 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            layer_of(**options)
        with pytest.raises(ValueError, match=sentence):
            model_of(**options)
    with pytest.raises(ValueError, match="no mixture-of-experts layer"):
        routings(GPT(GPTConfig(11)))
    with pytest.raises(ValueError, match="top_k=3 needs experts; set n_experts"):
        GPTConfig(11, top_k=3)
    with pytest.raises(ValueError, match='set activation="swiglu" and bias=False'):
        GPTConfig(11, n_experts=4)
    with pytest.raises(ValueError, match="n_experts=-1"):
        model_of(n_experts=-1)
