//! Sending what was admitted: resolve once, check every address, dial the checked one, speak.

use crate::EgressLimits;
use crate::address::{AddressClass, OwnListeners, Reach};
use crate::admit::AllowedRequest;
use crate::allowlist::address_of;
use crate::connection::{Answer, Connection, Failure, Progress};
use crate::credential::Mark;
use crate::dial::{Dial, Socket};
use crate::error::{Denial, HttpError, brief};
use crate::gate::is_write;
use crate::owner::{Bearer, Owner};
use crate::pool::{Key, Pool};
use crate::resolve::Resolve;
use crate::slots::{Shares, Slot, Slots};
use crate::tls::{TlsClients, server_name};
use crate::url::CheckedUrl;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::Full;
use sophon_skill::Scheme;
use sophon_types::TenantId;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::Host;
use zeroize::Zeroizing;

/// Named where the skill names nothing.
const USER_AGENT: &str = concat!("sophon-host/", env!("CARGO_PKG_VERSION"));

/// What it takes to reach the network; one of these in a process.
pub(crate) struct Wire {
    pub(crate) limits: EgressLimits,
    pub(crate) own: OwnListeners,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) dialer: Arc<dyn Dial>,
    pub(crate) tls: TlsClients,
    pub(crate) pool: Arc<Pool>,
    pub(crate) slots: Slots,
    pub(crate) lookups: Shares<TenantId>,
}

/// A header field that holds the credential.
pub(crate) type Attached = (HeaderName, HeaderValue);

/// A credential on its way out.
pub(crate) struct Lent {
    pub(crate) fields: Vec<Attached>,
    /// Path and query as they leave, where a placeholder stood in them.
    pub(crate) target: Option<Zeroizing<String>>,
    /// The body as it leaves, where a placeholder stood in it.
    pub(crate) body: Option<bytes::Bytes>,
    /// Which credential it is.
    pub(crate) mark: Mark,
}

/// A connection that is no HTTP, and its place among those that there may be.
pub(crate) struct OpenStream {
    pub(crate) socket: Box<dyn Socket>,
    pub(crate) slot: Slot,
}

impl Wire {
    /// Connects to the host and port of `url`, whose addresses are checked, and speaks nothing.
    pub(crate) async fn open_stream(
        &self,
        owner: &Owner,
        url: &CheckedUrl,
        reach: Reach,
        deadline: Instant,
    ) -> Result<OpenStream, Failure> {
        if deadline <= Instant::now() {
            return Err(Failure::not_sent(HttpError::Timeout));
        }
        let slot = self.slots.acquire(owner, deadline).await.map_err(Failure::not_sent)?;
        let addresses = self.addresses(&owner.tenant, url, deadline).await.map_err(Failure::not_sent)?;
        for &address in &addresses {
            self.may_reach(address, reach).map_err(|refusal| refusal.into_failure(url, address))?;
        }
        let (socket, _peer) = self.dial(url, &addresses, deadline).await.map_err(Failure::not_sent)?;
        Ok(OpenStream { socket, slot })
    }

    /// Sends `allowed` and returns the whole answer. A kept connection that turns out to be closed is replaced
    /// once, where the request cannot have had an effect.
    pub(crate) async fn dispatch(
        &self,
        owner: &Owner,
        allowed: &AllowedRequest,
        lent: Option<Lent>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        self.dispatch_within(owner, allowed, lent, deadline, &self.limits).await
    }

    /// The same, with other bounds of the exchange.
    pub(crate) async fn dispatch_within(
        &self,
        owner: &Owner,
        allowed: &AllowedRequest,
        lent: Option<Lent>,
        deadline: Instant,
        limits: &EgressLimits,
    ) -> Result<Answer, Failure> {
        if deadline <= Instant::now() {
            return Err(Failure::not_sent(HttpError::Timeout));
        }
        let bearer = Bearer::new(owner, lent.as_ref().map(|lent| lent.mark.clone()));
        let request = build(allowed, lent).map_err(Failure::not_sent)?;
        let _slot = self.slots.acquire(owner, deadline).await.map_err(Failure::not_sent)?;
        let url = allowed.checked_url();
        let key = Key::of(bearer.clone(), url);
        let reach = allowed.pass().reach;
        let kept = self.pool.take(&key, |peer| self.may_reach(peer, reach).is_ok()).await;
        if let Some(mut connection) = kept {
            match connection.exchange(request.clone(), limits, deadline).await {
                Ok(answer) => {
                    self.pool.put(key, connection);
                    return Ok(answer);
                }
                Err(failure) if failure.progress == Progress::MaybeSent => return Err(failure),
                Err(failure) if failure.progress == Progress::Stale && is_write(allowed.method()) => {
                    return Err(failure);
                }
                Err(failure) => tracing::debug!(?failure, "a kept connection was closed; connecting anew"),
            }
        }
        let mut connection = self.connect(&bearer, url, reach, deadline).await?;
        let answer = connection.exchange(request, limits, deadline).await?;
        self.pool.put(key, connection);
        Ok(answer)
    }

    async fn connect(
        &self,
        bearer: &Bearer,
        url: &CheckedUrl,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let addresses = self.addresses(bearer.tenant(), url, deadline).await.map_err(Failure::not_sent)?;
        for &address in &addresses {
            self.may_reach(address, reach).map_err(|refusal| refusal.into_failure(url, address))?;
        }
        let (stream, peer) = self.dial(url, &addresses, deadline).await.map_err(Failure::not_sent)?;
        let stream = match url.scheme() {
            Scheme::Http => stream,
            Scheme::Https => self.secure(bearer, url, stream, deadline).await.map_err(Failure::not_sent)?,
        };
        Connection::start(stream, peer, &self.limits).await.map_err(Failure::not_sent)
    }

    /// All addresses of the URL's host. A literal address is its own and asks no resolver.
    async fn addresses(
        &self,
        tenant: &TenantId,
        url: &CheckedUrl,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, HttpError> {
        if let Some(address) = address_of(url.host()) {
            return Ok(vec![SocketAddr::new(address, url.port())]);
        }
        let Host::Domain(name) = url.host() else { return Ok(Vec::new()) };
        let by = deadline.min(Instant::now() + self.limits.resolve);
        let mut found = timeout_at(by, self.look_up(tenant, name.clone()))
            .await
            .map_err(|_elapsed| HttpError::Dns(format!("{name} did not resolve in time")))?
            .map_err(|error| HttpError::Dns(format!("{name} does not resolve: {}", brief(error))))?;
        let mut seen = Vec::new();
        found.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        if found.is_empty() {
            return Err(HttpError::Dns(format!("{name} has no address")));
        }
        Ok(found.into_iter().map(|address: IpAddr| SocketAddr::new(address, url.port())).collect())
    }

    /// Asks the resolver in a task of its own: a look-up whose answer nobody waits for any more still counts as one of
    /// its tenant's, so that names that never resolve use up nobody else's look-ups.
    async fn look_up(&self, tenant: &TenantId, name: String) -> io::Result<Vec<IpAddr>> {
        let permit = self.lookups.of(tenant.clone()).acquire_owned().await.map_err(io::Error::other)?;
        let resolver = Arc::clone(&self.resolver);
        let lookup = tokio::spawn(async move {
            let found = resolver.resolve(&name).await;
            drop(permit);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }

    /// Whether `address` may be reached by a rule of this reach; asked before dialling and before using again.
    fn may_reach(&self, address: SocketAddr, reach: Reach) -> Result<(), AddressRefusal> {
        if self.own.contains(address, |ip| self.dialer.is_local(ip)) {
            return Err(AddressRefusal::OwnListener);
        }
        let class = AddressClass::of(address.ip());
        if reach.includes(class) { Ok(()) } else { Err(AddressRefusal::Class(class)) }
    }

    async fn dial(
        &self,
        url: &CheckedUrl,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(Box<dyn Socket>, SocketAddr), HttpError> {
        let by = deadline.min(Instant::now() + self.limits.connect);
        let tried = &addresses[..addresses.len().min(self.limits.addresses)];
        let mut last = HttpError::Timeout;
        for (at, &address) in tried.iter().enumerate() {
            // Each address gets its share of the time that is left, so that a silent one does not use up all.
            let left = by.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(tried.len() - at).unwrap_or(1);
            match timeout_at(Instant::now() + share, self.dialer.dial(address)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(error)) => {
                    last = HttpError::Connection(format!("{} cannot be reached: {}", url.authority(), brief(error)));
                }
                Err(_elapsed) => last = HttpError::Timeout,
            }
        }
        Err(last)
    }

    async fn secure(
        &self,
        bearer: &Bearer,
        url: &CheckedUrl,
        stream: Box<dyn Socket>,
        deadline: Instant,
    ) -> Result<Box<dyn Socket>, HttpError> {
        let by = deadline.min(Instant::now() + self.limits.tls);
        let name = server_name(url.host())?;
        let handshake = TlsConnector::from(self.tls.of(bearer)).connect(name, stream);
        let stream = timeout_at(by, handshake).await.map_err(|_elapsed| HttpError::Timeout)?.map_err(|error| {
            HttpError::Tls(format!("no secure connection to {}: {}", url.authority(), brief(error)))
        })?;
        Ok(Box::new(stream))
    }
}

enum AddressRefusal {
    OwnListener,
    Class(AddressClass),
}

impl AddressRefusal {
    /// The skill learns the kind of address, the operator which one.
    fn into_failure(self, url: &CheckedUrl, address: SocketAddr) -> Failure {
        let at = url.authority();
        let denial = match self {
            Self::OwnListener => {
                Denial::new("own_listener", format_args!("{at} is this host itself, which no skill reaches"))
            }
            Self::Class(class) => {
                let denial = Denial::new("address_not_allowed", format_args!("{at} has a {class} address"));
                match class {
                    AddressClass::Private => denial.hint(format!(
                        "let the person in charge grant it at install: --allow-host {}:{}",
                        url.host(),
                        url.port()
                    )),
                    AddressClass::Loopback | AddressClass::LinkLocal => denial.hint(format!(
                        "let the person in charge grant the address itself at install: --allow-host {address}"
                    )),
                    _ => denial.hint("this kind of address is never reached"),
                }
            }
        };
        Failure { detail: Some(address.to_string()), ..Failure::not_sent(denial) }
    }
}

/// The request as it is written: the target out of the checked URL, `Host` and framing by the host.
fn build(allowed: &AllowedRequest, lent: Option<Lent>) -> Result<Request<Full<bytes::Bytes>>, HttpError> {
    let url = allowed.checked_url();
    let unfit = || HttpError::InvalidRequest("the URL cannot be written in a request line".into());
    let (attached, target, body) = lent.map_or((Vec::new(), None, None), |lent| (lent.fields, lent.target, lent.body));
    let target = target.as_ref().map_or(url.target(), |target| target.as_str());
    let uri: Uri = target.parse().map_err(|_invalid| unfit())?;
    if uri.path_and_query().map(PathAndQuery::as_str) != Some(target) {
        return Err(unfit());
    }
    let host = HeaderValue::from_str(url.authority()).map_err(|_invalid| unfit())?;
    let mut request = Request::new(Full::new(body.unwrap_or_else(|| allowed.body().clone())));
    *request.method_mut() = allowed.method().clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.extend(allowed.headers().clone());
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, _) in &attached {
        headers.remove(name);
    }
    for (name, value) in attached {
        headers.append(name, value);
    }
    Ok(request)
}
