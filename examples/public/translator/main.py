"""Translations, with a key in a header of its own. Keys that end in ":fx" are those of the free service."""

import json
import urllib.error
import urllib.request

key = params["api_key"]
path = "/free/translate" if key.endswith(":fx") else "/paid/translate"
made = urllib.request.Request(
    params["base_url"] + path,
    data=json.dumps({"text": params["text"], "to": params["to"]}).encode("utf-8"),
    headers={"X-Api-Key": key, "Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(made, timeout=20) as answer:
        print(json.dumps({"text": json.load(answer)["text"]}))
except urllib.error.HTTPError as error:
    print(json.dumps({"error": f"HTTP {error.code}: {error.read().decode('utf-8', 'replace')[:300]}"}))
except urllib.error.URLError as error:
    print(json.dumps({"error": str(error.reason)}))
