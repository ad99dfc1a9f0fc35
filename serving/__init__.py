"""The HTTP application and its page."""
