"""What any package may import: errors for people, atomic writes, locks."""
