"""The two-tower retriever: layers, models, losses, input and export."""
