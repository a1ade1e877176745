"""The model that the chain starts from, where it is one that exists already: `pretrain.start`.

Each kind brings its files here (package, hub, folder); `adopt` checks them and saves the model as all are saved.
"""
