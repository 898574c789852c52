"""Data sets, tokenizers, published weights and synthetic worlds. Returns arrays and tensors; never trains.

Import from the module that defines a name, such as `course_lib.data.packages.fetching.fetch`: an import then brings in
no more than it needs (`loading.augment`, for one, needs torchvision, which is no part of the core).
"""
