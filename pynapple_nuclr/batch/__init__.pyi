from ._embed_many import embed_many

__all__ = ["embed_many"]
