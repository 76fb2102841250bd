"""Models as they are scored and run: attention over forests, tiled heads, precision, loading."""

import os

# oneDNN, which multiplies bfloat16 on CPU, compiles code for every shape and keeps the last 1,024. No two
# micro-batches have the same number of tokens, so a run would grow by a gigabyte of code that is never used
# again. 128 hold the shapes of a few micro-batches. It is read at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
