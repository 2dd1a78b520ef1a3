"""Contacts, with client credentials: a form for a token, then the token as a bearer."""

import json
import urllib.error
import urllib.parse
import urllib.request


def fetch(path, data=None, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    made = urllib.request.Request(params["base_url"] + path, data=data, headers=headers)
    with urllib.request.urlopen(made, timeout=20) as answer:
        return json.load(answer)


def main():
    form = {
        "grant_type": "client_credentials",
        "client_id": params["client_id"],
        "client_secret": params["client_secret"],
    }
    token = fetch("/oauth/token", urllib.parse.urlencode(form).encode("ascii"))["access_token"]
    found = fetch("/contacts?" + urllib.parse.urlencode({"name": params["name"]}), token=token)
    return {"contacts": found, "token": token}


try:
    print(json.dumps(main()))
except urllib.error.HTTPError as error:
    print(json.dumps({"error": f"HTTP {error.code}: {error.read().decode('utf-8', 'replace')[:300]}"}))
except urllib.error.URLError as error:
    print(json.dumps({"error": str(error.reason)}))
