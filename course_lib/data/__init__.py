"""Data sets, tokenizers, published weights and synthetic worlds. Returns arrays and tensors; never trains.

Import from the module that defines a name, such as `course_lib.data.packages.fetching.fetch`: an import then loads no
more than it needs (`loading.augment`, for example, needs torchvision, which is not part of the core).
"""
