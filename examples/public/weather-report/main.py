"""The weather, with a key in the query."""

import json
import urllib.error
import urllib.parse
import urllib.request

query = urllib.parse.urlencode({"q": params["place"], "appid": params["api_key"], "units": "metric"})
try:
    with urllib.request.urlopen(f"{params['base_url']}/weather?{query}", timeout=20) as answer:
        report = json.load(answer)
    print(json.dumps({"place": params["place"], "celsius": report["temp"]}))
except urllib.error.HTTPError as error:
    print(json.dumps({"error": f"HTTP {error.code}: {error.read().decode('utf-8', 'replace')[:300]}"}))
except urllib.error.URLError as error:
    print(json.dumps({"error": str(error.reason)}))
