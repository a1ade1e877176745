"""Models that exist already: the one that the chain starts from (`pretrain.start`), or one that judges.

Each kind brings its files here (package, hub, folder); `adopt` checks them and saves the model as all are saved.
"""
