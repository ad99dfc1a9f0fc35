"""What any package may import: errors for people, files that appear whole or not at all, locks."""
