//! What a skill holds in place of a credential, for one run, and how it is redeemed.
//!
//! Promise: a placeholder that a skill was given is redeemed in the value of a header field that is made for credentials
//! (of HTTP Basic, after decoding) and where else the connection says ([`Position`]), on the way to the hosts of that
//! connection, while the run lasts, and nowhere else. In any other place, in whatever spelling, or of another run, it is refused and an alarm is
//! raised. Pure: how the bytes come and go is the session's concern.

mod answer;
mod json;
mod request;
mod text;

pub(crate) use answer::{Swaps, tokens};
pub(crate) use request::Body;

use crate::admit::HttpRequest;
use crate::credential::field;
use crate::dispatch::Attached;
use crate::error::{Denial, HttpError};
use crate::url::CheckedUrl;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use sophon_guard::{KnownSecrets, KnownSecretsBuilder};
use sophon_skill::is_made_for_credentials;
use sophon_types::ServiceName;
use sophon_vault::{Binding, Lease, PLACEHOLDER_BYTES, Placing, Position};
use std::collections::BTreeSet;
use std::sync::Arc;
use text::{Piece, basic, holds, pieces};
use zeroize::Zeroizing;

/// Bodies up to this many bytes are searched for disguised placeholders where they are; larger ones on another thread.
pub(crate) const INLINE: usize = 64 * 1024;
/// Tokens of answers that one run is given placeholders for.
pub(crate) const MAX_TOKENS: usize = 64;

/// Everything that one run was given.
#[derive(Clone, Default)]
pub(crate) struct Handed {
    items: Vec<Item>,
    /// Finds them in any spelling.
    alarm: KnownSecrets,
}

#[derive(Clone)]
struct Item {
    /// The random text.
    core: String,
    /// What the skill was given: the random text in its shape.
    whole: String,
    service: ServiceName,
    /// Where it may stand besides the header fields that are made for credentials.
    positions: BTreeSet<Position>,
    /// The URL that it stands for as a whole; the random text is then the path of one on the same host.
    url: Option<Arc<Zeroizing<String>>>,
    stands_for: StandsFor,
}

#[derive(Clone)]
enum StandsFor {
    /// A field of the connection; without a name, the one that authorises.
    Field(Option<String>),
    /// A token that an answer held.
    Token(Arc<Zeroizing<Vec<u8>>>),
    /// A token of narrow scope that was made for this run.
    Scoped(Arc<Zeroizing<Vec<u8>>>),
}

/// A request that holds something of it: which connection's, and in which header fields (lower case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redemption {
    pub(crate) service: ServiceName,
    pub(crate) fields: Vec<String>,
    /// In a user and password that were encoded together.
    pub(crate) basic: bool,
    /// In the URL.
    pub(crate) url: bool,
    /// As the URL itself.
    pub(crate) hook: bool,
    /// In the body, which is of this kind.
    pub(crate) body: Option<Body>,
}

impl Redemption {
    /// Whether the request is a login: what comes back may be the key to everything that follows.
    pub(crate) fn is_login(&self) -> bool {
        self.body.is_some()
    }
}

/// The request as it leaves, and the secrets that came into being with it.
pub(crate) struct Swapped {
    pub(crate) fields: Vec<Attached>,
    pub(crate) url: Option<Zeroizing<String>>,
    pub(crate) body: Option<Bytes>,
    pub(crate) secrets: KnownSecrets,
}

impl Handed {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What finds the placeholders in any spelling.
    pub(crate) fn alarm(&self) -> &KnownSecrets {
        &self.alarm
    }

    /// The placeholder that stands for this field of this service, where there is one already.
    pub(crate) fn placeholder(&self, service: &ServiceName, field: Option<&str>) -> Option<&str> {
        let is = |item: &&Item| matches!(&item.stands_for, StandsFor::Field(of) if of.as_deref() == field);
        let found = self.items.iter().filter(|item| item.service == *service).find(is);
        found.map(|item| item.whole.as_str())
    }

    /// Hands out `core` for a field, as the connection wants it to look. Returns what the skill gets.
    pub(crate) fn add_placeholder(
        &mut self,
        core: &str,
        service: &ServiceName,
        field: Option<&str>,
        placing: Option<&Placing>,
        url: Option<&CheckedUrl>,
    ) -> String {
        let shape = placing.and_then(|placing| placing.shape.as_ref());
        let whole = match (url, shape) {
            (Some(url), _) => format!("https://{}/{core}", url.authority()),
            (None, Some(shape)) => format!("{}{core}{}", shape.before(), shape.after()),
            (None, None) => core.to_owned(),
        };
        let item = Item {
            core: core.to_owned(),
            whole: whole.clone(),
            service: service.clone(),
            positions: placing.map(|placing| placing.positions.clone()).unwrap_or_default(),
            url: url.map(|url| Arc::new(Zeroizing::new(url.as_str().to_owned()))),
            stands_for: StandsFor::Field(field.map(str::to_owned)),
        };
        self.add(item);
        whole
    }

    /// Hands out `core` for a token that an answer to `redemption` held; it may stand where what was redeemed may.
    pub(crate) fn add_token(&mut self, core: &str, redemption: &Redemption, name: &str, token: &[u8]) {
        let of_service = self.items.iter().filter(|item| item.service == redemption.service);
        let places = of_service.flat_map(|item| item.positions.iter());
        let mut positions: BTreeSet<Position> = places.filter(|at| **at != Position::Url).cloned().collect();
        // A refresh token goes back the way the secret went.
        match redemption.body {
            Some(Body::Form) => drop(positions.insert(Position::Form(name.to_owned()))),
            Some(Body::Json) => drop(positions.insert(Position::Json(name.to_owned()))),
            None => {}
        }
        self.add(Item {
            core: core.to_owned(),
            whole: core.to_owned(),
            service: redemption.service.clone(),
            positions,
            url: None,
            stands_for: StandsFor::Token(Arc::new(Zeroizing::new(token.to_vec()))),
        });
    }

    /// The placeholder of a token that an answer held before.
    pub(crate) fn token(&self, service: &ServiceName, token: &[u8]) -> Option<&str> {
        let is = |item: &&Item| matches!(&item.stands_for, StandsFor::Token(of) if of.as_slice() == token);
        self.items.iter().filter(|item| item.service == *service).find(is).map(|item| item.core.as_str())
    }

    /// The placeholder of the narrow token for this service.
    pub(crate) fn scoped(&self, service: &ServiceName) -> Option<&str> {
        let is = |item: &&Item| matches!(item.stands_for, StandsFor::Scoped(_));
        self.items.iter().filter(|item| item.service == *service).find(is).map(|item| item.core.as_str())
    }

    /// Hands out `core` for a narrow token, which may stand in header fields.
    pub(crate) fn add_scoped(&mut self, core: &str, service: &ServiceName, token: &[u8]) {
        self.add(Item {
            core: core.to_owned(),
            whole: core.to_owned(),
            service: service.clone(),
            positions: BTreeSet::new(),
            url: None,
            stands_for: StandsFor::Scoped(Arc::new(Zeroizing::new(token.to_vec()))),
        });
    }

    /// How many tokens of answers are in it.
    pub(crate) fn tokens(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.stands_for, StandsFor::Token(_))).count()
    }

    fn add(&mut self, item: Item) {
        let one = KnownSecrets::builder().add("placeholder", item.core.as_bytes()).build();
        self.alarm = KnownSecrets::merge(&[&self.alarm, &one]);
        self.items.push(item);
    }

    /// What `request` redeems, if anything.
    pub(crate) fn redemption(&self, request: &HttpRequest) -> Result<Option<Redemption>, HttpError> {
        let mut redeems = Redeems { handed: self, found: None };
        for (name, value) in &request.headers {
            redeems.header(name, value)?;
        }
        redeems.url(&request.url)?;
        redeems.body(request)?;
        let found = redeems.found;
        if let (Some(found), Some(named)) = (&found, &request.credential)
            && found.service.as_str() != named
        {
            return Err(Denial::new(
                "placeholder_misplaced",
                format_args!("the request names a credential and holds a placeholder of {}", found.service),
            )
            .hint("either name the credential, or send its placeholder in a header field")
            .into());
        }
        self.disguised(request)?;
        Ok(found)
    }

    /// Refuses a placeholder in a spelling that is not swapped: somebody takes it elsewhere.
    fn disguised(&self, request: &HttpRequest) -> Result<(), HttpError> {
        if self.items.is_empty() {
            return Ok(());
        }
        let hidden = |bytes: &[u8]| self.alarm.find(&self.blanked(bytes)).is_some();
        let in_fields = request.headers.iter().find(|(name, value)| {
            // Of HTTP Basic what it says is looked at, not how it is written.
            let value = basic(name, value).map_or_else(|| self.blanked(value), |pair| self.blanked(&pair));
            self.alarm.find(&value).is_some() || hidden(name.as_bytes())
        });
        if let Some((name, _)) = in_fields {
            let name: String = name.chars().take(60).collect();
            return Err(disguise(&format!("the header field {name}")));
        }
        if hidden(request.url.as_bytes()) {
            return Err(disguise("the URL"));
        }
        let body = request.body.as_deref().unwrap_or_default();
        if body.len() <= INLINE && hidden(body) {
            return Err(disguise("the body"));
        }
        Ok(())
    }

    /// Refuses a placeholder, of this run or another and in whatever spelling, where none is ever swapped.
    pub(crate) fn check_stream(&self, bytes: &[u8]) -> Result<(), HttpError> {
        let plain = pieces(bytes).any(|piece| matches!(piece, Piece::Placeholder(_)));
        if !plain && (self.items.is_empty() || self.alarm.find(bytes).is_none()) {
            return Ok(());
        }
        let what = "a placeholder was about to go over a connection that is no HTTP, where it would stand for nothing";
        Err(Denial::new("placeholder_misplaced", what)
            .hint("a secret cannot be brokered there: let the person in charge connect it as a field that is plain")
            .into())
    }

    /// `bytes` without the placeholders that stand in it as they are.
    pub(crate) fn blanked(&self, bytes: &[u8]) -> Vec<u8> {
        let mut blanked = Vec::with_capacity(bytes.len());
        for piece in pieces(bytes) {
            match piece {
                Piece::Text(text) => blanked.extend_from_slice(text),
                Piece::Placeholder(_) => blanked.push(b'.'),
            }
        }
        blanked
    }

    /// The first item in `text`. A placeholder that this run was not given is refused.
    fn look(&self, text: &[u8]) -> Result<Option<&Item>, HttpError> {
        let mut found = None;
        for piece in pieces(text) {
            let Piece::Placeholder(core) = piece else { continue };
            let Some(item) = self.items.iter().find(|item| item.core.as_bytes() == core) else {
                return Err(Denial::new("placeholder_unknown", "the request holds a placeholder of another run")
                    .hint("ask for it again in this call: a placeholder is good for one run only")
                    .into());
            };
            found = found.or(Some(item));
        }
        Ok(found)
    }

    /// The placeholder that `url` is as a whole: its host, and no other path. A query may stand behind it.
    fn hook(&self, url: &str) -> Option<&Item> {
        let path = request::path(url).strip_prefix('/')?;
        let item = self.items.iter().find(|item| item.url.is_some() && item.core == path)?;
        let (asked, own) = (CheckedUrl::parse(url, usize::MAX).ok()?, CheckedUrl::parse(&item.whole, usize::MAX).ok()?);
        asked.same_origin(&own).then_some(item)
    }

    /// What is sent where `url` is a placeholder as a whole: rules about methods and paths are asked about this.
    pub(crate) fn hooked(&self, url: &str, most: usize) -> Option<CheckedUrl> {
        let secret = self.hook(url)?.url.as_ref()?;
        let whole = request::swap_hook(secret, url, |text| Some(Zeroizing::new(text.to_vec())))?;
        CheckedUrl::parse(&whole, most).ok()
    }

    /// Whether the connection, as it is now authenticated, says that what `redemption` holds may stand there.
    pub(crate) fn agrees(&self, redemption: &Redemption, binding: &Binding) -> bool {
        let fields = self.items.iter().filter(|item| item.service == redemption.service);
        fields.into_iter().all(|item| match &item.stands_for {
            StandsFor::Field(field) => {
                let placing = binding.placing(field.as_deref());
                item.positions.iter().all(|at| placing.as_ref().is_some_and(|placing| placing.positions.contains(at)))
            }
            StandsFor::Token(_) | StandsFor::Scoped(_) => true,
        })
    }

    /// The parts of the request that `redemption` names, with what their placeholders stand for.
    pub(crate) fn swap(
        &self,
        redemption: &Redemption,
        headers: &HeaderMap,
        url: &str,
        body: &Bytes,
        lease: &Lease,
    ) -> Option<Swapped> {
        let mut secrets = KnownSecrets::builder();
        let mut fields = Vec::new();
        let fill = |text: &[u8]| self.filled(text, &redemption.service, lease);
        for name in &redemption.fields {
            for value in headers.get_all(name.as_str()) {
                let value = match basic(name, value.as_bytes()) {
                    None => fill(value.as_bytes())?,
                    Some(pair) => {
                        let pair = Zeroizing::new(STANDARD.encode(&*fill(&pair)?));
                        secrets = secrets.add(&format!("{}.basic", redemption.service), pair.as_bytes());
                        Zeroizing::new(format!("Basic {}", &*pair).into_bytes())
                    }
                };
                fields.push(field(name, &value)?);
            }
        }
        let url = match self.hook(url).filter(|_| redemption.hook) {
            Some(item) => {
                let StandsFor::Field(field) = &item.stands_for else { return None };
                let secret = lease.stands_for(field.as_deref())?;
                #[expect(clippy::disallowed_methods, reason = "egress is where a secret is attached to a request")]
                let secret = std::str::from_utf8(secret.expose()).ok()?;
                // Connected anew: what was checked is not what would be sent.
                let same = CheckedUrl::parse(secret, usize::MAX).ok()?.as_str() == item.url.as_ref()?.as_str();
                Some(request::swap_hook(same.then_some(secret)?, url, fill)?)
            }
            None if redemption.url => Some(request::swap_url(url, fill)?),
            None => None,
        };
        let body = match redemption.body {
            Some(kind) => Some(Bytes::from(request::swap_body(kind, body, fill)?.to_vec())),
            None => None,
        };
        secrets = self.live_tokens(&redemption.service, secrets);
        Some(Swapped { fields, url, body, secrets: secrets.build() })
    }

    /// Adds the tokens of a service that answers held, or that were made for this run.
    fn live_tokens(&self, service: &ServiceName, mut secrets: KnownSecretsBuilder) -> KnownSecretsBuilder {
        for item in self.items.iter().filter(|item| item.service == *service) {
            if let StandsFor::Token(token) | StandsFor::Scoped(token) = &item.stands_for {
                secrets = secrets.add(&format!("{service}.token"), token);
            }
        }
        secrets
    }

    /// `text` with every placeholder swapped; read once, so that a secret that looks like one stays what it is. Nothing
    /// where a placeholder was cut out of its shape.
    fn filled(&self, text: &[u8], service: &ServiceName, lease: &Lease) -> Option<Zeroizing<Vec<u8>>> {
        let mut filled = Zeroizing::new(Vec::with_capacity(text.len() + 64));
        let mut after: &[u8] = &[];
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => {
                    filled.extend_from_slice(text.strip_prefix(after)?);
                    after = &[];
                }
                Piece::Placeholder(core) => {
                    if !after.is_empty() {
                        return None;
                    }
                    let item =
                        self.items.iter().find(|item| item.core.as_bytes() == core && item.service == *service)?;
                    let at = item.whole.find(&item.core)?;
                    let before = &item.whole.as_bytes()[..at];
                    after = &item.whole.as_bytes()[at + PLACEHOLDER_BYTES..];
                    let kept = filled.strip_suffix(before)?.len();
                    filled.truncate(kept);
                    match &item.stands_for {
                        StandsFor::Token(token) | StandsFor::Scoped(token) => filled.extend_from_slice(token),
                        StandsFor::Field(field) => {
                            let secret = lease.stands_for(field.as_deref())?;
                            #[expect(
                                clippy::disallowed_methods,
                                reason = "egress is where a secret is attached to a request"
                            )]
                            filled.extend_from_slice(secret.expose());
                        }
                    }
                }
            }
        }
        after.is_empty().then_some(filled)
    }
}

/// Gathers what a request redeems.
struct Redeems<'h> {
    handed: &'h Handed,
    found: Option<Redemption>,
}

impl<'h> Redeems<'h> {
    /// The item in `text`, which may stand there where `allowed` says so; `here` is the place, where a person may name it.
    fn take(
        &mut self,
        text: &[u8],
        (place, here): (&str, Option<&Position>),
        allowed: impl Fn(&Item) -> bool,
    ) -> Result<Option<&mut Redemption>, HttpError> {
        if self.handed.look(text)?.is_none() {
            return Ok(None);
        }
        // Each of them has to be allowed, not only the first.
        let items = self.handed.items.iter().filter(|item| holds(text, &item.core));
        let mut service = None;
        for item in items {
            if !allowed(item) {
                return Err(misplaced(item, place, here));
            }
            let known = self.found.as_ref().map(|found| &found.service).or(service);
            if let Some(known) = known.filter(|known| **known != item.service) {
                let both = format!("{known} and {}", item.service);
                return Err(Denial::new(
                    "placeholder_misplaced",
                    format_args!("one request may use one connection, this one holds placeholders of {both}"),
                )
                .hint("send one request for each service")
                .into());
            }
            service = Some(&item.service);
        }
        let Some(service) = service else { return Ok(None) };
        let empty = || Redemption {
            service: service.clone(),
            fields: Vec::new(),
            basic: false,
            url: false,
            hook: false,
            body: None,
        };
        Ok(Some(self.found.get_or_insert_with(empty)))
    }

    fn header(&mut self, name: &str, value: &[u8]) -> Result<(), HttpError> {
        let lower = name.to_ascii_lowercase();
        let place = format!("the header field {}", name.chars().take(60).collect::<String>());
        let pair = basic(name, value);
        let text = pair.as_deref().unwrap_or(value);
        let here = Position::header(name);
        let allowed = |item: &Item| {
            is_made_for_credentials(name) || here.as_ref().is_some_and(|here| item.positions.contains(here))
        };
        if let Some(redemption) = self.take(text, (&place, here.as_ref()), allowed)? {
            redemption.basic |= pair.is_some();
            if !redemption.fields.contains(&lower) {
                redemption.fields.push(lower);
            }
        }
        self.take(name.as_bytes(), ("the name of a header field", None), |_| false)?;
        Ok(())
    }

    fn url(&mut self, url: &str) -> Result<(), HttpError> {
        let mut found = false;
        let hook = self.handed.hook(url).map(|item| item.core.as_str());
        request::url_places(url, |text, position, place| {
            let allowed = |item: &Item| {
                let whole = position == Some(&Position::Path) && hook == Some(item.core.as_str());
                whole || position.is_some_and(|position| item.positions.contains(position))
            };
            found |= self.take(text, (place, position), allowed)?.is_some();
            Ok(())
        })?;
        if let Some(redemption) = self.found.as_mut().filter(|_| found) {
            redemption.url = true;
            redemption.hook = hook.is_some();
        }
        Ok(())
    }

    fn body(&mut self, request: &HttpRequest) -> Result<(), HttpError> {
        let body = request.body.as_deref().unwrap_or_default();
        let kind = Body::of(&request.headers);
        if !holds(body, sophon_vault::PLACEHOLDER_PREFIX) {
            return Ok(());
        }
        let mut found = false;
        let read = request::body_places(kind, body, |text, position, place| {
            let allowed = |item: &Item| position.is_some_and(|position| item.positions.contains(position));
            found |= self.take(text, (place, position), allowed)?.is_some();
            Ok(())
        })?;
        // What is no form and no JSON has no place for it, and neither has one that two readers read differently.
        if !read {
            self.take(body, ("the body", None), |_| false)?;
            if found {
                return Err(disguise("the body"));
            }
        }
        if let Some(redemption) = self.found.as_mut().filter(|_| found) {
            redemption.body = kind;
        }
        Ok(())
    }
}

fn misplaced(item: &Item, place: &str, here: Option<&Position>) -> HttpError {
    if item.url.is_some() {
        return Denial::new("placeholder_misplaced", format_args!("{place} holds the placeholder of {}", item.service))
            .hint("it stands for a URL as a whole: send requests to it as it is, with nothing but a query behind it")
            .into();
    }
    let mut hint =
        String::from("send it in a header field that is made for credentials, such as Authorization or X-Api-Key");
    if !item.positions.is_empty() {
        let places: Vec<String> = item.positions.iter().map(ToString::to_string).collect();
        hint.push_str(&format!(", or in {}", places.join(", ")));
    }
    if let Some(flag) = here.and_then(|here| item.flag(here)) {
        hint.push_str(&format!(
            "; where {} takes it here, the person who connected it does so again with {flag}",
            item.service
        ));
    } else if item.positions.is_empty() {
        hint.push_str(
            "; another place is named by the person who connected the service (`sophon credential set --place \
             FIELD=header:NAME`)",
        );
    }
    Denial::new("placeholder_misplaced", format_args!("{place} holds the placeholder of {}", item.service))
        .hint(hint)
        .into()
}

impl Item {
    /// What lets it stand here. The name of a place is the skill's own text: one that is no plain name is not repeated.
    fn flag(&self, here: &Position) -> Option<String> {
        let StandsFor::Field(Some(field)) = &self.stands_for else { return None };
        let here = here.to_string();
        let (_, name) = here.split_once(':').unwrap_or_default();
        let plain = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-[]".contains(&b));
        let quote = if name.contains('[') { "'" } else { "" };
        plain.then(|| format!("--place {quote}{field}={here}{quote}"))
    }
}

pub(crate) fn disguise(place: &str) -> HttpError {
    Denial::new("placeholder_misplaced", format_args!("{place} holds a placeholder in disguise"))
        .hint("send it as it is, in the value of a header field")
        .into()
}

#[cfg(test)]
mod tests;
