//! Sources as skills of the public contract have them, and what is proposed of each.

use super::{Follower, MOST_STEPS, positions};
use crate::analysis::python::Source;
use crate::manifest::Manifest;
use crate::testing;
use serde_json::{Value, json};

fn manifest(fields: Value) -> Manifest {
    let mut manifest = testing::manifest();
    manifest["integration"] =
        json!({"service": "demo", "displayName": "Demo", "authType": "api_key", "fields": fields});
    Manifest::parse(manifest.to_string().as_bytes()).unwrap()
}

/// What is proposed for the secret fields `api_key` and `client_secret`; `base_url` is none.
#[track_caller]
fn check(source: &str, expected: &[&str]) {
    let manifest = manifest(json!([
        {"key": "api_key", "label": "Key", "type": "secret", "required": true},
        {"key": "client_secret", "label": "Secret", "type": "secret"},
        {"key": "base_url", "label": "Server", "type": "url"},
    ]));
    let sources = [Source::read("main.py", source.as_bytes()).unwrap_or_else(|_| panic!("{source}"))];
    let found = positions(&sources, &manifest);
    let found: Vec<String> = found.iter().map(|one| format!("{}={}", one.field, one.position)).collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn a_parameter_of_the_query() {
    check(
        "key = params['api_key']\nurl = BASE + '?' + urllib.parse.urlencode({'api_key': key, 'q': q})\n",
        &["api_key=query:api_key"],
    );
    check("url += '&appid=' + params.get('api_key', '').strip()\n", &["api_key=query:appid"]);
    check("url = f\"{BASE}/data?q={q}&key={params['api_key']}\"\n", &["api_key=query:key"]);
    check("url = '%s/data?q=%s&key=%s' % (BASE, q, params['api_key'])\n", &["api_key=query:key"]);
    check("url = '{}/data?key={}'.format(BASE, params['api_key'])\n", &["api_key=query:key"]);
    check("url = '{base}/data?key={key}'.format(base=BASE, key=params['api_key'])\n", &["api_key=query:key"]);
    check("q = {'q': 1}\nq['token'] = params['api_key']\nu = f'{B}/x?{urlencode(q)}'\n", &["api_key=query:token"]);
    check("requests.get(URL, params={'key': params['api_key']})\n", &["api_key=query:key"]);
    check(
        "pairs = [('q', q)]\npairs.append(('k', params['api_key']))\nu = B + '?' + urlencode(pairs)\n",
        &["api_key=query:k"],
    );
    // Encoded here, and put behind the URL there.
    check("query = urlencode(dict(key=params['api_key']))\nurl = BASE + '?' + query\n", &["api_key=query:key"]);
}

#[test]
fn a_segment_of_the_path() {
    check("token = params['api_key']\nurl = f\"{BASE}/bot{token}/sendMessage\"\n", &["api_key=path"]);
    check("url = 'https://api.example.com/bot' + params['api_key'] + '/getMe'\n", &["api_key=path"]);
    check("url = 'https://%s/hook' % params['api_key']\n", &[]);
    check("url = f\"https://hooks.example.com/services/{params['api_key']}\"\n", &["api_key=path"]);
}

#[test]
fn a_header_field_that_is_not_made_for_credentials() {
    check("headers['X-Custom'] = params['api_key']\n", &["api_key=header:x-custom"]);
    check(
        "def go(key):\n    h = {'X-Hook': key}\n    return Request(URL, None, h)\ngo(params['api_key'])\n",
        &["api_key=header:x-hook"],
    );
    check("req.add_header('X-Tenant', params['api_key'])\n", &["api_key=header:x-tenant"]);
    check("req = Request(URL, headers={'X-Id': f\"id {params['api_key']}\"})\n", &["api_key=header:x-id"]);
    check("session.headers.update({'X-Account': params['api_key']})\n", &["api_key=header:x-account"]);
    // These need no asking, and no credential may stand in those.
    check("headers = {'Authorization': 'Bearer ' + params['api_key'], 'X-Api-Key': params['api_key']}\n", &[]);
    check("headers = {'Content-Disposition': params['api_key']}\n", &[]);
}

#[test]
fn a_value_in_a_json_body() {
    check("body = json.dumps({'api_key': params['api_key']}).encode()\n", &["api_key=json:api_key"]);
    check(
        "p = {'auth': {'key': params['api_key'], 'n': [1]}}\nr = post(URL, data=json.dumps(p))\n",
        &["api_key=json:auth.key"],
    );
    check("requests.post(URL, json={'items': [{'k': params['api_key']}]})\n", &["api_key=json:items[].k"]);
    // Handed on to a function that sends it.
    check(
        "def call(method, path, body=None):\n    data = json.dumps(body).encode() if body else None\n    return data\n\n\
         def search(p):\n    return call('POST', '/s', {'key': p['api_key'], 'q': p['q']})\n",
        &["api_key=json:key"],
    );
    // A key that is written like two has no place.
    check("b = json.dumps({'a.b': params['api_key']})\n", &[]);
}

#[test]
fn a_field_of_a_form() {
    check(
        "data = urlencode({'client_id': cid, 'client_secret': params['client_secret']}).encode()\n",
        &["client_secret=form:client_secret"],
    );
    check(
        "form = urllib.parse.urlencode({'secret': params['client_secret']})\nreq = Request(URL, data=form.encode('ascii'))\n",
        &["client_secret=form:secret"],
    );
    check("requests.post(URL, data={'secret': params['client_secret']})\n", &["client_secret=form:secret"]);
    check(
        "body = f\"grant_type=client_credentials&client_secret={params['client_secret']}\"\n",
        &["client_secret=form:client_secret"],
    );
}

#[test]
fn names_are_followed_through_the_packages_own_functions() {
    check(
        "def _key():\n    return params.get('api_key') or ''\n\ndef url(path):\n    return f'{BASE}{path}?key={_key()}'\n",
        &["api_key=query:key"],
    );
    check(
        "class Client:\n    def __init__(self, key):\n        self.key = key\n\n    def get(self, path, query=None):\n        \
         query = dict(query or {})\n        query['k'] = self.key\n        return open(BASE + path + '?' + urlencode(query))\n\n\
         client = Client(params['api_key'])\n",
        &["api_key=query:k"],
    );
    check(
        "def send(api_key, text):\n    return f'{BASE}/x?token={api_key}'\n\nresult = send(**params)\n",
        &["api_key=query:token"],
    );
    check("def need(name):\n    return params[name]\n\nu = f\"{B}/x?t={need('api_key')}\"\n", &["api_key=query:t"]);
}

#[test]
fn what_is_no_request_and_no_secret_proposes_nothing() {
    check("print(json.dumps({'api_key': params['api_key']}))\n", &[]);
    check("log.info(f\"/x?key={params['api_key']}\")\n", &[]);
    check("url = f\"{params['base_url']}/x?key={params['q']}\"\n", &[]);
    check("token = base64.b64encode(f\"u:{params['api_key']}\".encode())\nurl = f'{B}/x?t={token}'\n", &[]);
    check("response = urlopen(req)\nurl = f'{B}/x?t={response}'\n", &[]);
    check("", &[]);
}

#[test]
fn odd_sources_end() {
    for source in [
        "f(".to_owned(),
        "((((".repeat(5000),
        "[{(".repeat(5000),
        format!("x = {}1", "params['api_key'] + ".repeat(20_000)),
        format!("x = f\"{}\"", "{params['api_key']}".repeat(20_000)),
        format!("{}1", "a, b = ".repeat(20_000)),
        "x['k'] = x\n".repeat(2000),
        "def f(x):\n    return f(f(f(x)))\n".repeat(500),
    ] {
        let manifest = manifest(json!([{"key": "api_key", "label": "Key", "type": "secret"}]));
        if let Ok(source) = Source::read("main.py", source.as_bytes()) {
            positions(&[source], &manifest);
        }
    }
}

/// The tokens of a source, the steps that it takes of so many, and how much is found.
fn followed(source: &str, steps: usize) -> (usize, usize, usize) {
    let source = Source::read("main.py", source.as_bytes()).unwrap_or_else(|unread| panic!("{unread:?}"));
    let tokens = source.tokens.len();
    let sources = [source];
    let mut follower = Follower::new(&sources, vec!["api_key"], steps);
    follower.follow();
    (tokens, steps - follower.left.get(), follower.found.len())
}

const SENT: &str = "url = BASE + '?key=' + params['api_key']\n";

#[test]
fn a_large_statement_takes_no_more_than_a_few_steps_for_each_token() {
    for statement in [
        format!("x = {}1", "\"aaaaaaaaa\"%bbbb+".repeat(92_000)),
        format!("x = [{}1]", "\"aaaaaaaaa\"%bbbb,".repeat(92_000)),
        "else ".repeat(300_000),
    ] {
        let (tokens, steps, found) = followed(&format!("{statement}\n{SENT}"), MOST_STEPS);
        assert!(steps <= 20 * tokens, "{steps} steps for {tokens} tokens: {}", &statement[..20]);
        assert_eq!(found, 1, "{}", &statement[..20]);
    }
}

#[test]
fn what_takes_too_many_steps_proposes_nothing() {
    assert_eq!(followed(SENT, MOST_STEPS).2, 1);
    let (_, most, _) = followed(SENT, MOST_STEPS);
    for steps in 0..=most {
        assert_eq!(followed(SENT, steps).2, 0, "{steps}");
    }
    assert_eq!(followed(SENT, most + 1).2, 1);
    // Many parameters, and many calls each of which looks through all of them.
    let (parameters, calls) = ("a,".repeat(50_000), "f(a=1)\n".repeat(20_000));
    let (_, steps, found) = followed(&format!("{SENT}def f({parameters}):\n    pass\n{calls}"), 1_000_000);
    assert_eq!((steps, found), (1_000_000, 0));
}
