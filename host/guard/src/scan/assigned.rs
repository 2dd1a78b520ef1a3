//! `name = value`: a random-looking value beside the name of a service, or beside a word for secrets.

use super::jwt;
use super::randomness::{is_placeholder, is_uuid, looks_generated, looks_random, looks_secret};

/// Services whose credentials have no prefix of their own, so that only the name beside them tells.
pub(super) const SERVICES: &[&str] = &[
    "adafruit",
    "adobe",
    "airtable",
    "algolia",
    "alibaba",
    "aliyun",
    "amplitude",
    "asana",
    "atlassian",
    "auth0",
    "azure",
    "beamer",
    "bitbucket",
    "bittrex",
    "binance",
    "braintree",
    "bugsnag",
    "buildkite",
    "circleci",
    "cisco",
    "clearbit",
    "clickup",
    "cloudant",
    "cloudflare",
    "codeclimate",
    "codecov",
    "coinbase",
    "cohere",
    "co_api_key",
    "confluence",
    "confluent",
    "contentful",
    "contribsys",
    "coveralls",
    "databricks",
    "datadog",
    "deepgram",
    "deepl",
    "deepseek",
    "digitalocean",
    "discord",
    "dnkey",
    "docusign",
    "doppler",
    "droneci",
    "dropbox",
    "elastic",
    "etsy",
    "facebook",
    "fastly",
    "figma",
    "finicity",
    "finnhub",
    "firebase",
    "flickr",
    "flutterwave",
    "foursquare",
    "freshbooks",
    "freshdesk",
    "gitter",
    "giphy",
    "gocardless",
    "grafana",
    "groq",
    "heroku",
    "hubspot",
    "hunter_io",
    "instagram",
    "intercom",
    "ipinfo",
    "ipstack",
    "jfrog",
    "artifactory",
    "bintray",
    "xray",
    "jira",
    "jumpcloud",
    "kraken",
    "kucoin",
    "launchdarkly",
    "linear",
    "linkedin",
    "linked_in",
    "linked-in",
    "lob",
    "looker",
    "mailchimp",
    "mailgun",
    "mandrill",
    "mapbox",
    "mattermost",
    "maxmind",
    "meraki",
    "messagebird",
    "message-bird",
    "message_bird",
    "microsoft_teams",
    "mistral",
    "mixpanel",
    "monday",
    "netlify",
    "new-relic",
    "newrelic",
    "new_relic",
    "nexmo",
    "ngrok",
    "notion",
    "npmjs",
    "nytimes",
    "new-york-times",
    "newyorktimes",
    "okta",
    "onesignal",
    "openai",
    "openweather",
    "pagerduty",
    "paypal",
    "pinecone",
    "pingdom",
    "pinterest",
    "plaid",
    "plivo",
    "postmark",
    "private_ai",
    "private-ai",
    "privateai",
    "pubnub",
    "pusher",
    "quandl",
    "rapidapi",
    "razorpay",
    "reddit",
    "replicate",
    "rollbar",
    "salesforce",
    "segment",
    "sendbird",
    "sendgrid",
    "sentry",
    "shodan",
    "shopify",
    "shippo",
    "slack",
    "snyk",
    "softlayer",
    "sonar",
    "sonar_token",
    "sonar-token",
    "sonar.token",
    "sonar_login",
    "sonar-login",
    "sonar.login",
    "sourcegraph",
    "splunk",
    "spotify",
    "square",
    "squarespace",
    "stability",
    "strava",
    "stripe",
    "sumo",
    "surge",
    "telegr",
    "todoist",
    "trello",
    "travis",
    "twilio",
    "twitch",
    "twitter",
    "typeform",
    "unsplash",
    "vercel",
    "virustotal",
    "wakatime",
    "weatherapi",
    "webex",
    "wrike",
    "yandex",
    "youtube",
    "zendesk",
    "zoho",
    "zoom",
];

/// Words for secrets in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Keys, tokens, secrets: long and random.
    Secret,
    /// Passwords: shorter, and chosen by people or generators.
    Password,
}

/// The words, and what each announces. A word counts only as a whole word of a name (`apiKey`, `API_KEY`, not `monkey`).
pub(super) const WORDS: &[(&str, Word)] = &[
    ("key", Word::Secret),
    ("token", Word::Secret),
    ("secret", Word::Secret),
    ("credential", Word::Secret),
    ("credentials", Word::Secret),
    ("authtoken", Word::Secret),
    ("authorization", Word::Secret),
    ("auth", Word::Secret),
    ("apikey", Word::Secret),
    ("secretkey", Word::Secret),
    ("accesskey", Word::Secret),
    ("signature", Word::Secret),
    ("password", Word::Password),
    ("passwd", Word::Password),
    ("pwd", Word::Password),
    ("pass", Word::Password),
    ("passphrase", Word::Password),
];

/// What a name says that holds no secret, whatever else it says.
const HARMLESS: &[&[u8]] = &[
    b"public",
    b"pub_",
    b"pubkey",
    b"csrf",
    b"xsrf",
    b"authenticity",
    b"keyboard",
    b"keyword",
    b"keyid",
    b"key_id",
    b"key-id",
    b"tokenid",
    b"token_id",
    b"primary_key",
    b"primarykey",
    b"foreign",
    b"partition",
    b"sort_key",
    b"cache",
    b"hash",
    b"etag",
    b"checksum",
    b"digest",
    b"secretname",
    b"secret_name",
    b"secret-name",
    b"nonce",
    b"continuation",
    b"next_page",
    b"nextpage",
    b"pagetoken",
    b"page_token",
    b"page-token",
    b"cursor",
    b"idempotency",
    b"fingerprint",
];

/// The value assigned near a service's name at `start..end`, if it looks random.
pub(super) fn service(text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    if !is_one_word(text, start, end) {
        return None;
    }
    let (from, to) = value(text, end, Reach::Service)?;
    let found = &text[from..to];
    let path = found.windows(3).any(|w| w == b"://") || found.first() == Some(&b'/');
    (!path && looks_random(found)).then_some((from, to))
}

impl Word {
    /// The value assigned to a name that holds this word at `start..end`, if it looks like a secret.
    pub(super) fn check(self, text: &[u8], start: usize, end: usize) -> Option<(&'static str, usize, usize)> {
        if !is_whole_word(text, start, end) {
            return None;
        }
        let (from, to) = value(text, end, Reach::Word)?;
        let found = &text[from..to];
        if found.windows(3).any(|w| w == b"://") || matches!(found.first(), Some(b'/' | b'.' | b'-')) {
            return None;
        }
        if jwt::names_nobody(found) {
            return None;
        }
        let name = name_around(text, start, end);
        if HARMLESS.iter().any(|word| name.windows(word.len()).any(|window| window == *word)) {
            return None;
        }
        match self {
            // An identifier in the place of a secret is how configurations refer to one.
            Self::Secret if is_uuid(found) && names_an_id(&name) => None,
            Self::Secret => looks_secret(found).then_some(("assigned-secret", from, to)),
            Self::Password => {
                let quoted = from > 0 && matches!(text[from - 1], b'"' | b'\'' | b'`');
                (quoted && looks_generated(found) || looks_secret(found)).then_some(("assigned-password", from, to))
            }
        }
    }
}

/// Whether the service's name is written as one word: `okta`, `OKTA`, `Okta`, `linkedIn`; not the `okTa` of `rookTable`.
fn is_one_word(text: &[u8], start: usize, end: usize) -> bool {
    let word = &text[start..end];
    let bent = word.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    !(bent && text.get(end).is_some_and(u8::is_ascii_lowercase))
}

/// Whether the word at `start..end` is a whole word of its name.
fn is_whole_word(text: &[u8], start: usize, end: usize) -> bool {
    let begins = match start.checked_sub(1).map(|at| text[at]) {
        None => true,
        Some(before) if before.is_ascii_lowercase() || before.is_ascii_digit() => text[start].is_ascii_uppercase(),
        Some(before) => !before.is_ascii_uppercase() || text[start..end].iter().all(u8::is_ascii_uppercase),
    };
    let ends = text.get(end).is_none_or(|after| {
        !(after.is_ascii_lowercase() || after.is_ascii_uppercase() && text[end - 1].is_ascii_uppercase())
    });
    begins && ends
}

/// The name that holds `start..end`, in lower case.
fn name_around(text: &[u8], start: usize, end: usize) -> Vec<u8> {
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let head = text[start.saturating_sub(40)..start].iter().rev().take_while(|b| part(b)).count();
    let tail = text[end..].iter().take(40).take_while(|b| part(b)).count();
    text[start - head..end + tail].to_ascii_lowercase()
}

fn names_an_id(name: &[u8]) -> bool {
    name.ends_with(b"id") || name.ends_with(b"ids") || name.ends_with(b"uuid")
}

/// How much may stand between the keyword and the sign of assignment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The rest of a name, and a few words.
    Service,
    /// The rest of a name.
    Word,
}

/// Where the value is that is assigned to the name that goes on at `at`.
fn value(text: &[u8], at: usize, reach: Reach) -> Option<(usize, usize)> {
    let mut at = at;
    let skip = |at: usize, most: usize, is: fn(u8) -> bool| {
        at + text[at.min(text.len())..].iter().take(most).take_while(|b| is(**b)).count()
    };
    let rest: fn(u8) -> bool = match reach {
        Reach::Service => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' ' | b'\t'),
        Reach::Word => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'),
    };
    at = skip(at, 20, rest);
    at = skip(at, 4, |b| matches!(b, b'"' | b'\'' | b'`' | b'\\' | b' ' | b'\t' | b']'));
    // `<add key="Password" value="…">` and its like: what counts is `value=`.
    if text[at..].get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"value")) {
        at = skip(at + 5, 4, |b| b == b' ');
    }
    let sign = &text[at..];
    let len = [&b":::="[..], b"::=", b":=", b"||", b"=>", b"?=", b"==", b"=", b":", b">", b","]
        .into_iter()
        .find(|sign_text| sign.starts_with(sign_text))?
        .len();
    // Between words of prose there are commas too; a word for secrets needs a clearer sign.
    if reach == Reach::Word && matches!(sign[..len], [b','] | [b'|', b'|']) {
        return None;
    }
    at += len;
    at = skip(at, 6, |b| matches!(b, b'"' | b'\'' | b'`' | b'\\' | b' ' | b'\t' | b'='));
    for scheme in [&b"Bearer "[..], b"bearer ", b"Basic ", b"basic ", b"Token ", b"token "] {
        if text[at..].starts_with(scheme) {
            at += scheme.len();
        }
    }
    let end = skip(at, 256, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'=' | b'/' | b'+' | b':' | b'%' | b'~' | b'@')
    });
    // A call or an index is code, not a value; what follows a value closes it.
    let closed = text.get(end).is_none_or(|after| {
        matches!(after, b'"' | b'\'' | b'`' | b'\\' | b';' | b',' | b'<' | b')' | b'}' | b']' | b'&' | b'|' | b'!')
            || after.is_ascii_whitespace()
    });
    let end = end - text[at..end].iter().rev().take_while(|b| matches!(b, b'.' | b':')).count();
    (closed && at < end && !is_placeholder(&text[at..end])).then_some((at, end))
}
