"""Random kills: rounds of several kinds, in each of which a project is brought to its end against some harm."""
