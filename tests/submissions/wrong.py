"""Honest mistakes: notebook, the exercise that is wrong, what the grade says it is, and whether all of it is lost."""

from submissions.build import notebook, solved

ATTENTION = """\
def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1){scale}
    {before}
    weights = torch.softmax(scores, dim={dim})
    {after}
    return weights @ v
"""
MASK = "scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)"
MASK_AFTER = "weights = weights if mask is None else weights * mask"


def attention(scale=" / math.sqrt(q.shape[-1])", before=MASK, dim=-1, after="pass"):
    """The lab with a solution of `attention` in which something is changed."""
    return notebook(solved(attention=ATTENTION.format(scale=scale, before=before, dim=dim, after=after)))


def softmax(source):
    """The lab with this solution of `softmax`."""
    return notebook(solved(softmax=source))


# name: (notebook, id of the wrong exercise, words of the known mistake or None)
WRONG = {
    "no scale": (attention(scale=""), "attention", "without the scale"),
    "query axis": (attention(dim=-2), "attention", "over the query axis"),
    "mask after softmax": (attention(before="pass", after=MASK_AFTER), "attention", "after the softmax"),
    "mask forgotten": (attention(before="pass"), "attention", "nothing changes"),
    "mask upside down": (
        attention(before=MASK.replace("~", ""), after="weights = weights.nan_to_num()"), "attention", "upside down"),
    "last axis always": (
        softmax("def softmax(x, dim=-1):\n    return torch.softmax(x, -1)"), "softmax", "over the last axis"),
    "overflows": (
        softmax("def softmax(x, dim=-1):\n    return x.exp() / x.exp().sum(dim, keepdim=True)"), "softmax", "overflows"),
    "detached": (
        softmax("def softmax(x, dim=-1):\n    return torch.tensor(x.softmax(dim).tolist())"), "softmax", None),
    "in place": (
        softmax("def softmax(x, dim=-1):\n    x -= x.amax(dim, keepdim=True).detach()\n    return x.softmax(dim)"), "softmax", None),
    "not started": (
        softmax('def softmax(x, dim=-1):\n    """..."""\n    raise NotImplementedError'), "softmax", None),
    "other name": (softmax("def soft_max(x, dim=-1):\n    return x.softmax(dim)"), "softmax", None),
    "syntax error": (softmax("def softmax(x, dim=-1)\n    return x.softmax(dim)"), "softmax", None),
    "float mask": (
        notebook(solved(causal_mask="def causal_mask(n):\n    return torch.tril(torch.ones(n, n))")), "causal_mask", "floats"),
}  # fmt: skip
IN_A_SANDBOX = ("no scale", "in place", "syntax error")  # the others are graded without, as it costs seconds
