//! SA026: what goes out of the sandbox is HTTP; another protocol has nowhere to go, unless a person opens it.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA026",
    title: "sockets",
    severity: Severity::Warning,
    what: "A Python file opens sockets, or uses a module that speaks another protocol than HTTP: socket, asyncio \
           streams, imaplib, smtplib, poplib, ftplib, telnetlib, nntplib, database drivers, SSH, MQTT.",
    why: "The sandbox has no network device: HTTP goes through the host, which checks, records and attaches \
          credentials. Anything else is refused unless a person granted that host and port, and a credential cannot \
          be attached to it.",
    advice: "speak HTTP with urllib.request; else say in README.md which host and port a person has to grant",
    check: Check::Python(check),
};

/// Modules, and what they speak.
const SPEAKS: [(&str, &str); 28] = [
    ("asyncio.open_connection", "raw TCP"),
    ("asyncio.start_server", "raw TCP"),
    ("asyncio.open_unix_connection", "a local socket"),
    ("socketserver.", "raw TCP"),
    ("http.server.", "HTTP as a server"),
    ("xmlrpc.server.", "HTTP as a server"),
    ("imaplib.", "IMAP"),
    ("smtplib.", "SMTP"),
    ("poplib.", "POP3"),
    ("ftplib.", "FTP"),
    ("telnetlib.", "Telnet"),
    ("nntplib.", "NNTP"),
    ("pg8000.", "PostgreSQL's protocol"),
    ("psycopg.", "PostgreSQL's protocol"),
    ("psycopg2.", "PostgreSQL's protocol"),
    ("asyncpg.", "PostgreSQL's protocol"),
    ("pymysql.", "MySQL's protocol"),
    ("MySQLdb.", "MySQL's protocol"),
    ("mysql.", "MySQL's protocol"),
    ("pymongo.", "MongoDB's protocol"),
    ("redis.", "Redis' protocol"),
    ("pymssql.", "SQL Server's protocol"),
    ("paramiko.", "SSH"),
    ("asyncssh.", "SSH"),
    ("paho.", "MQTT"),
    ("ldap3.", "LDAP"),
    ("dns.", "DNS"),
    ("websockets.", "WebSocket"),
];

/// Of `socket`, what opens nothing: errors, and the time limit that urllib takes over.
const HARMLESS: [&str; 9] = [
    "socket",
    "socket.timeout",
    "socket.error",
    "socket.gaierror",
    "socket.herror",
    "socket.setdefaulttimeout",
    "socket.getdefaulttimeout",
    "socket.inet_aton",
    "socket.inet_pton",
];

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        let mut last = (String::new(), 0);
        let opens = source
            .uses_of("socket.")
            .filter(|_| source.imports("socket"))
            .filter(|used| !HARMLESS.contains(&used.path.as_str()))
            .map(|used| (used.path.clone(), used.line, "raw sockets"));
        let speaks = SPEAKS.iter().flat_map(|(name, protocol)| {
            let module = name.trim_end_matches('.').split('.').next().unwrap_or(name);
            let imported = source.imports(module);
            source.uses_of(name).filter(move |_| imported).map(|used| (used.path.clone(), used.line, *protocol))
        });
        let wholesale = source
            .imports
            .iter()
            .filter(|(name, _)| name == "socket.*")
            .map(|(_, line)| ("socket.*".to_owned(), *line, "raw sockets"));
        for (path, line, protocol) in opens.chain(speaks).chain(wholesale) {
            if last == (path.clone(), line) {
                continue;
            }
            let place = format!("{}, line {line}", source.name);
            findings.warning(&place, format!("{path} speaks {protocol}"), RULE.advice);
            last = (path, line);
        }
    }
}
