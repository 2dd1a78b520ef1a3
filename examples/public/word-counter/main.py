"""Reads its call from standard input, as the templates do, and needs nothing else."""

import json
import sys

call = json.load(sys.stdin)
text = call["parameters"]["text"]
if call["tool"] == "count":
    print(json.dumps({"lines": len(text.splitlines()), "words": len(text.split()), "characters": len(text)}))
else:
    print(json.dumps({"error": f"unknown tool {call['tool']}"}))
