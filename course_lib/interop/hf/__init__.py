"""The model families of transformers that can be read and written."""

from course_lib.interop.hf.bert import BERT
from course_lib.interop.hf.clip import CLIP, CLIP_VISION
from course_lib.interop.hf.gpt import GPT2, LLAMA
from course_lib.interop.hf.llava import LLAVA
from course_lib.interop.hf.moe import MIXTRAL, QWEN2_MOE
from course_lib.interop.hf.t5 import T5
from course_lib.interop.hf.vit import VIT

FAMILIES = (BERT, CLIP, CLIP_VISION, GPT2, LLAMA, LLAVA, MIXTRAL, QWEN2_MOE, T5, VIT)
