from llmgine.providers.embeddings.batches import batches, joined
from llmgine.providers.embeddings.codec import EmbeddingCodec, embedding_codec_for, no_embeddings
from llmgine.providers.embeddings.vectors import packed, unpacked

__all__ = [
    "EmbeddingCodec",
    "batches",
    "embedding_codec_for",
    "joined",
    "no_embeddings",
    "packed",
    "unpacked",
]
