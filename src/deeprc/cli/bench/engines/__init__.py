"""The engines of `deeprc bench tables`: one file each, which asks the same questions in that engine's own words.

Each is run as a script by the interpreter that has the engine (`measure.py`), and imports nothing of Deep RC
but for Deep RC's own.
"""
