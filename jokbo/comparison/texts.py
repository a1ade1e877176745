"""What the stage family_text leaves for the systems: a folder a text, with its tokenizer and its corpus, and these."""

TASKS = "tasks"  # a folder a task of labelled texts
LEXICON = "lexicon.json"
COUNTS = "counts.json"  # what was counted
TRANSLATIONS = "translations.json"  # in the folder of the text in whose tokens they are
