"""What a team does with its runs: reproduce them."""
