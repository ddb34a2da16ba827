"""What an entry of the zoo is made of: manifest, architecture, weights, card; kept safe to load.

An entry is a folder. `save` writes it, `read` gives the model back; nothing in a folder is
trusted: every file is held against its digest, every class against a list, before it is used.
"""
