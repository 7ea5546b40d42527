"""The documentation site: `python3 dev.py docs` builds it of what is in docs/ and in docstrings."""
