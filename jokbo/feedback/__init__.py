"""What a language model says of two responses, judged by principles (Bai et al. 2022), and how far to believe it."""
