"""What a team does with its runs: share, reproduce and compare them, and keep their places in order."""
