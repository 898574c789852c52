"""Other people's files and names: Hugging Face folders, GGUF, timm."""

from course_lib.interop.gguf import from_gguf
from course_lib.interop.model_folder import Model, from_hf, from_pretrained, save_pretrained, to_hf
from course_lib.interop.pretrained import minilm, sentence_embeddings, smollm2
from course_lib.interop.timm_models import from_timm, load_timm_weights
