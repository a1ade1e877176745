"""What a team does with its runs: compare them, and see what they came from."""
