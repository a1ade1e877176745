"""What is asked of a whole project: is it right, what can go or differs, does it come out the same, who shares it."""
