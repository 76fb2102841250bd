"""TRL's helpers by their names: thin functions over what is here, for scripts written for TRL.

`burnish.apply_chat_template`, `burnish.TrlParser` and their kin are found here (`names.py`). Nothing else
of the library uses them.
"""
