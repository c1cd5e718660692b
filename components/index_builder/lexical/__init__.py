"""The lexical channel: BM25F over impact-ordered posting lists, searched in the graph and fused with dense hits."""
