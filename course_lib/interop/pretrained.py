"""Published models, ready to run."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from course_lib.data.packages import pretrained
from course_lib.data.tokenizers import pretrained as tokenizers
from course_lib.interop.gguf import from_gguf
from course_lib.interop.model_folder import from_pretrained
from course_lib.models.bert import Bert
from course_lib.models.gpt import GPT
from course_lib.nn.attention import padding_mask
from course_lib.nn.embed import embed_tokens


def smollm2() -> tuple[GPT, Tokenizer]:
    """Load SmolLM2-135M-Instruct (Allal et al. 2025) and its tokenizer: float32, eval mode, about 0.6 GB of memory.

    The published file has weights in 4 bits (the embedding in 8), so results differ a little from those of the original
    bfloat16 weights.
    """
    return from_gguf(*pretrained.smollm2_tensors()), tokenizers.smollm2_tokenizer()


def minilm() -> tuple[Bert, Tokenizer]:
    """Load all-MiniLM-L6-v2 and its tokenizer, for `sentence_embeddings`: float32, eval mode, about 0.1 GB of memory.

    It is a BERT of six layers, distilled from a larger one (Wang et al. 2020) and then trained so that texts of similar
    meaning have vectors of similar direction (Reimers and Gurevych 2019).
    """
    model = from_pretrained(pretrained.minilm_folder())
    assert isinstance(model, Bert)
    return model, tokenizers.minilm_tokenizer()


@torch.no_grad()
def sentence_embeddings(
    model: Bert, tokenizer: Tokenizer, texts: Iterable[str], batch_size: int = 32
) -> Float[Tensor, "texts d_model"]:
    """Compute the sentence embedding of each text: the mean of its tokens' last hidden states, scaled to length 1.

    The dot product of two embeddings is their cosine similarity.

    Raises:
        ValueError: If there are no texts, or one has more tokens than the model has positions.

    Source: Reimers and Gurevych 2019, section 3.
    """
    if isinstance(texts, str):
        raise ValueError("pass a list of texts; for one text: [text]")
    try:
        encodings = tokenizer.encode_batch(list(texts))
    except TypeError:  # the tokenizer's, for anything but a string, and for half a surrogate pair
        raise ValueError("every text must be a string of valid Unicode; is there a None or NaN among them?") from None
    # Without the padding that a tokenizer may be set to add.
    rows = [torch.tensor([i for i, real in zip(e.ids, e.attention_mask, strict=True) if real]) for e in encodings]
    if not rows:
        raise ValueError("there are no texts")
    device = model.token_embedding.weight.device
    lengths = torch.tensor([len(row) for row in rows])
    result = torch.empty(len(rows), model.config.d_model, device=device)
    batches = lengths.argsort(descending=True).split(batch_size)  # of similar length, so that there is little padding
    for batch in tqdm(batches, desc="embedding texts", delay=1.0, mininterval=0.5):
        ids = pad_sequence([rows[i] for i in batch.tolist()], batch_first=True).to(device)
        mask = padding_mask(lengths[batch].to(device), ids.shape[1])
        hidden = model.hidden_states(embed_tokens(model.token_embedding, ids), mask)
        mean = (hidden * mask[:, 0, 0, :, None]).sum(1) / lengths[batch, None].to(device)
        result[batch] = torch.nn.functional.normalize(mean.float(), dim=-1)
    return result
