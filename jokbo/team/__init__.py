"""What a team does with its runs: where they are shared, and which model is its best."""
