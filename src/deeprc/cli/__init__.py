"""The command line: one file for each command; what they do lies in the other rooms."""
