"""What any package may import: errors for people, and files that appear whole or not at all."""
