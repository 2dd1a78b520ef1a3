"""Hours of a week, with HTTP Basic: the e-mail address and a token."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request

pair = f"{params['email']}:{params['api_token']}"
headers = {"Authorization": "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")}
url = f"{params['base_url']}/hours/{urllib.parse.quote(params['week'], safe='')}"
try:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        print(answer.read().decode("utf-8"))
except urllib.error.HTTPError as error:
    print(json.dumps({"error": f"HTTP {error.code}"}))
except urllib.error.URLError as error:
    print(json.dumps({"error": str(error.reason)}))
