"""Issues of a tracker, with a bearer token."""

import json
import urllib.error
import urllib.parse
import urllib.request


def request(method, path, body=None):
    data = json.dumps(body).encode("utf-8") if body is not None else None
    headers = {"Authorization": f"Bearer {params['token']}", "Accept": "application/json"}
    if data is not None:
        headers["Content-Type"] = "application/json"
    url = params["base_url"].rstrip("/") + path
    made = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(made, timeout=20) as answer:
            return json.loads(answer.read().decode("utf-8") or "null")
    except urllib.error.HTTPError as error:
        return {"error": f"HTTP {error.code}: {error.read().decode('utf-8', 'replace')[:300]}"}
    except urllib.error.URLError as error:
        return {"error": str(error.reason)}


def main():
    tool = params["tool"]
    if tool == "issue-tracker.list":
        query = urllib.parse.urlencode({"project": params["project"], "state": "open"})
        return request("GET", f"/api/issues?{query}")
    if tool == "issue-tracker.close":
        return request("PATCH", f"/api/issues/{int(params['number'])}", {"state": "closed"})
    return {"error": f"unknown tool {tool}"}


print(json.dumps(main()))
