"""Settings shared by every script: constants with unit and source, frozen dataclasses. No input or output."""
