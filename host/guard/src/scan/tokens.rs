//! Formats of tokens that say what they are: a prefix, then a body of known alphabet and length.

use super::jwt;
use super::randomness::{Makeup, entropy, is_crossed_out, is_placeholder};
use regex::bytes::Regex;
use std::sync::OnceLock;

/// A token format.
pub(super) struct Token {
    /// The rule's name, as it appears in findings.
    pub(super) name: &'static str,
    /// What the token begins with; case counts.
    pub(super) prefix: &'static str,
    /// What follows, as a regular expression over bytes.
    body: &'static str,
    /// Least entropy of the body, in bits a byte; [`ANY`] and [`STRICT`] are special.
    entropy: f32,
    /// Compiled when the prefix is first met.
    regex: OnceLock<Option<Regex>>,
}

impl Token {
    /// Where the token is whose prefix stands at `start`, if it is one.
    pub(super) fn check(&self, text: &[u8], start: usize) -> Option<(usize, usize)> {
        if !text[start..].starts_with(self.prefix.as_bytes()) || (start > 0 && text[start - 1].is_ascii_alphanumeric())
        {
            return None;
        }
        let from = start + self.prefix.len();
        let window = &text[from..text.len().min(from + 2048)];
        let regex = self.regex.get_or_init(|| self.compile()).as_ref()?;
        let body = regex.find(window)?;
        let end = from + body.end();
        if text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        let body = body.as_bytes();
        let telling = match self.entropy {
            ANY => true,
            STRICT => !is_crossed_out(body),
            least => entropy(body) >= least && !is_placeholder(body),
        };
        telling.then_some((start, end))
    }

    pub(super) fn compile(&self) -> Option<Regex> {
        Regex::new(&format!(r"(?-u)\A(?:{})", self.body)).ok()
    }
}

/// Every token format, in no particular order.
pub(super) fn tokens() -> impl Iterator<Item = Token> {
    TABLE.iter().flat_map(|(name, prefixes, body, entropy)| {
        prefixes.split(' ').map(|prefix| Token { name, prefix, body, entropy: *entropy, regex: OnceLock::new() })
    })
}

/// The prefix is so telling that any body counts.
const ANY: f32 = -1.0;
/// Prefix and alphabet are so telling that only a crossed-out body does not count.
const STRICT: f32 = 0.0;

/// Name, prefixes (separated by spaces), body, least entropy.
const TABLE: &[(&str, &str, &str, f32)] = &[
    ("1password-secret-key", "A3-", r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}", 3.2),
    ("1password-service-account", "ops_eyJ", r"[A-Za-z0-9+/=_-]{120,}", 4.0),
    ("adobe-client-secret", "p8e-", r"[A-Za-z0-9]{32}", 2.8),
    ("age-secret-key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{58}", 3.0),
    ("airtable-token", "pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}", 3.0),
    ("alibaba-access-key-id", "LTAI", r"[A-Za-z0-9]{12,20}", 2.8),
    ("anthropic-key", "sk-ant-", r"[a-z]+[0-9]{2}-[A-Za-z0-9_-]{80,120}", 4.9),
    ("artifactory-key", "AKC", r"[A-Za-z0-9]{10,}", ANY),
    (
        "artifactory-password",
        "AP0 AP1 AP2 AP3 AP4 AP5 AP6 AP7 AP8 AP9 APA APB APC APD APE APF",
        r"[A-Za-z0-9]{8,}",
        ANY,
    ),
    ("artifactory-key", "AKCp", r"[A-Za-z0-9]{69}", 4.0),
    ("artifactory-token", "cmVmd", r"[A-Za-z0-9]{59}", 4.2),
    ("atlassian-token", "ATATT3 ATCTT3 ATBB", r"[A-Za-z0-9_=-]{20,250}", 3.5),
    (
        "authress-access-key",
        "sc_ ext_ scauth_ authress_",
        r"[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][A-Za-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}",
        3.0,
    ),
    ("aws-access-key-id", "AKIA ASIA ABIA ACCA AGPA AIDA AROA ANPA ANVA", r"[A-Z2-7]{16}", STRICT),
    ("aws-access-key-id", "A3T", r"[A-Z0-9][A-Z2-7]{16}", STRICT),
    ("aws-bedrock-key", "ABSK", r"[A-Za-z0-9+/]{100,280}={0,2}", 4.0),
    ("aws-bedrock-key", "bedrock-api-key-", r"[A-Za-z0-9+/]{20,}={0,2}", 3.0),
    ("brave-search-key", "BSA", r"[A-Za-z0-9_-]{28}", 3.8),
    ("buildkite-token", "bkua_", r"[a-z0-9]{40}", 3.0),
    ("cerebras-key", "csk-", r"[a-z0-9]{48}", 3.5),
    ("clickhouse-cloud-key", "4b1d", r"[A-Za-z0-9]{38}", 3.5),
    ("clojars-token", "CLOJARS_", r"[A-Za-z0-9]{60}", 3.0),
    ("cloudflare-origin-ca-key", "v1.0-", r"[a-f0-9]{24}-[a-f0-9]{146}", 3.0),
    ("contentful-token", "CFPAT-", r"[A-Za-z0-9_-]{43}", 3.0),
    ("cratesio-token", "cio", r"[A-Za-z0-9]{32}", 3.5),
    ("databricks-token", "dapi", r"[a-f0-9]{32}(?:-\d)?", 2.8),
    ("defined-networking-token", "dnkey-", r"[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{52}", 3.0),
    ("digitalocean-token", "doo_v1_ dop_v1_ dor_v1_ dos_v1_", r"[a-f0-9]{64}", 2.8),
    ("docker-token", "dckr_pat_ dckr_oat_", r"[A-Za-z0-9_-]{27,40}", 3.0),
    (
        "doppler-token",
        "dp.pt. dp.st. dp.sa. dp.ct. dp.scim. dp.audit.",
        r"(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
        3.0,
    ),
    ("duffel-token", "duffel_test_ duffel_live_", r"[A-Za-z0-9_=-]{43}", 3.0),
    ("dynatrace-token", "dt0c01. dt0s01.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}", 3.5),
    ("easypost-key", "EZAK EZTK", r"[A-Za-z0-9]{54}", 3.0),
    ("endorlabs-key", "endr+", r"[A-Za-z0-9_-]{16}", 2.8),
    ("facebook-access-token", "EAAM EAAC EAAG EAAB", r"[A-Za-z0-9]{80,}", 3.5),
    ("figma-token", "figd_ figo_ figu_", r"[A-Za-z0-9_-]{36,44}", 3.0),
    ("flutterwave-key", "FLWSECK_TEST- FLWPUBK_TEST- FLWSECK- FLWPUBK-", r"(?:[a-h0-9]{32}-X|[a-h0-9]{12})", 2.5),
    ("flyio-token", "fo1_", r"[A-Za-z0-9_-]{43}", 3.5),
    ("flyio-token", "fm1a_ fm1r_ fm2_", r"[A-Za-z0-9+/]{100,}={0,3}", 4.0),
    ("frameio-token", "fio-u-", r"[A-Za-z0-9_=-]{64}", 3.0),
    ("freemius-key", "sk_", r"[^\s\x22\x27]{29}", 3.9),
    ("gcp-api-key", "AIza", r"[A-Za-z0-9_-]{35}", 3.5),
    ("gcp-oauth-secret", "GOCSPX-", r"[A-Za-z0-9_-]{28}", 3.0),
    ("gcp-access-token", "ya29.", r"[A-Za-z0-9_-]{30,}", 3.5),
    ("gcp-refresh-token", "1//0", r"[A-Za-z0-9_-]{40,}", 3.5),
    ("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{36}", 3.0),
    ("github-token", "github_pat_", r"[A-Za-z0-9_]{82}", 3.0),
    (
        "gitlab-token",
        "glpat- gldt- glft- glrt- glsoat- glffct-",
        r"[A-Za-z0-9_-]{20,300}(?:\.[a-z0-9]{2}[a-z0-9]{7})?",
        2.8,
    ),
    ("gitlab-token", "glcbt-", r"(?:[A-Za-z0-9]{1,5}_)?[A-Za-z0-9_-]{20}", 2.8),
    ("gitlab-token", "glptt-", r"[a-f0-9]{40}", 2.8),
    ("gitlab-token", "glimt-", r"[A-Za-z0-9_-]{25}", 2.8),
    ("gitlab-token", "glagent-", r"[A-Za-z0-9_-]{50,}", 2.8),
    ("gitlab-token", "gloas-", r"[A-Za-z0-9_-]{64}", 2.8),
    ("gitlab-token", "glwt- glbt-", r"[A-Za-z0-9_-]{20,}", 2.8),
    ("gitlab-runner-token", "GR1348941", r"[A-Za-z0-9_-]{20}", 2.8),
    ("gitlab-session", "_gitlab_session=", r"[a-z0-9]{32}", 2.8),
    ("grafana-key", "eyJrIjoi", r"[A-Za-z0-9]{60,400}={0,3}", 3.5),
    ("grafana-token", "glc_", r"[A-Za-z0-9+/]{32,400}={0,3}", 3.0),
    ("grafana-token", "glsa_", r"[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", 3.0),
    ("groq-key", "gsk_", r"[A-Za-z0-9]{52}", 3.5),
    ("harness-key", "pat. sat.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}", 3.5),
    ("vault-token", "hvs. hvb. hvr.", r"[A-Za-z0-9_-]{24,300}", 3.5),
    ("heroku-key", "HRKU-", r"(?:AA[A-Za-z0-9_-]{58}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", 3.0),
    ("hubspot-token", "pat-na1- pat-eu1- pat-na2-", r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", 2.8),
    ("huggingface-token", "hf_", r"[A-Za-z]{34}(?:[A-Za-z0-9]{3})?", 3.3),
    ("huggingface-token", "api_org_", r"[A-Za-z]{34}", 3.0),
    ("infracost-key", "ico-", r"[A-Za-z0-9]{32}", 3.0),
    ("langsmith-key", "lsv2_pt_ lsv2_sk_", r"[a-f0-9]{32}_[a-f0-9]{10}", 2.8),
    ("linear-key", "lin_api_ lin_oauth_", r"[A-Za-z0-9]{40}", 3.0),
    ("lob-key", "live_ test_ live_pub_ test_pub_", r"(?:[a-f0-9]{31}|[a-f0-9]{35})", 2.8),
    ("gocardless-token", "live_", r"[A-Za-z0-9_=-]{40}", 3.4),
    ("mailgun-key", "key- pubkey-", r"[a-f0-9]{32}", 2.8),
    ("mapbox-token", "pk. sk.", r"[A-Za-z0-9_-]{60,110}\.[A-Za-z0-9_-]{20,24}", 3.5),
    ("new-relic-key", "NRAK-", r"[A-Za-z0-9]{27}", 3.0),
    ("new-relic-key", "NRJS-", r"[a-f0-9]{19}", 2.5),
    ("new-relic-key", "NRII- NRIQ- NRRA- NRAA-", r"[A-Za-z0-9_-]{27,42}", 3.0),
    ("notion-token", "ntn_", r"[0-9]{11}[A-Za-z0-9]{35}", 3.8),
    ("notion-token", "secret_", r"[A-Za-z0-9]{43}", 4.0),
    ("npm-token", "npm_", r"[A-Za-z0-9]{36}", 3.0),
    ("octopus-deploy-key", "API-", r"[A-Z0-9]{26}", 3.0),
    ("openai-key", "sk-", r"(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,200}", 4.5),
    ("openai-key", "sk-", r"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", 3.5),
    ("openrouter-key", "sk-or-v1-", r"[a-f0-9]{64}", 2.8),
    ("openshift-token", "sha256~", r"[A-Za-z0-9_-]{43}", 3.5),
    ("perplexity-key", "pplx-", r"[A-Za-z0-9]{48}", 3.5),
    ("pinecone-key", "pcsk_", r"[A-Za-z0-9_]{40,80}", 3.5),
    ("planetscale-token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[A-Za-z0-9_=.-]{32,64}", 3.0),
    ("postman-key", "PMAK-", r"[A-Fa-f0-9]{24}-[A-Fa-f0-9]{34}", 2.8),
    ("prefect-key", "pnu_ pnb_", r"[A-Za-z0-9]{36}", 3.0),
    ("pulumi-token", "pul-", r"[a-f0-9]{40}", 2.8),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc pypi-AgENdGVzdC5weXBpLm9yZw", r"[A-Za-z0-9_-]{50,1000}", 3.0),
    ("readme-key", "rdme_", r"[a-z0-9]{70}", 3.0),
    ("replicate-token", "r8_", r"[A-Za-z0-9]{37}", 3.5),
    ("rubygems-key", "rubygems_", r"[a-f0-9]{48}", 2.8),
    ("scalingo-token", "tk-us-", r"[A-Za-z0-9_-]{48}", 3.0),
    ("sendgrid-key", "SG.", r"(?:[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|[A-Za-z0-9=_.-]{66})", 3.0),
    ("sendinblue-key", "xkeysib- xsmtpsib-", r"[a-f0-9]{64}-[A-Za-z0-9]{16}", 2.8),
    ("sentry-token", "sntrys_", r"[A-Za-z0-9+/=]{20,420}_[A-Za-z0-9+/]{43}", 3.8),
    ("sentry-token", "sntryu_", r"[a-f0-9]{64}", 2.8),
    ("settlemint-token", "sm_aat_ sm_pat_ sm_sat_", r"[A-Za-z0-9]{16}", 2.6),
    ("shippo-token", "shippo_live_ shippo_test_", r"[A-Fa-f0-9]{40}", 2.8),
    ("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"[A-Fa-f0-9]{32}", 2.6),
    ("slack-token", "xapp-", r"\d-[A-Z0-9]+-\d+-[A-Za-z0-9]+", 2.5),
    ("slack-token", "xoxb-", r"\d{8,14}-(?:\d{8,14}[A-Za-z0-9-]*|[A-Za-z0-9]{18,26})", 2.5),
    ("slack-token", "xoxe", r".xox[bp]-\d-[A-Za-z0-9]{100,200}", 3.0),
    ("slack-token", "xoxe-", r"\d-[A-Za-z0-9]{100,200}", 3.0),
    ("slack-token", "xoxo- xoxs-", r"\d+-\d+-\d+-[A-Fa-f0-9]+", 2.3),
    ("slack-token", "xoxa- xoxr-", r"(?:\d-)?[A-Za-z0-9]{8,48}", 2.5),
    ("slack-token", "xoxp- xoxe-", r"(?:\d{10,13}-){3}[A-Za-z0-9-]{24,40}", 2.8),
    ("slack-webhook", "hooks", r".slack.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,80}", 3.0),
    ("sonar-token", "squ_ sqp_ sqa_", r"[A-Za-z0-9_=-]{40}", 3.0),
    ("sourcegraph-token", "sgp_", r"(?:(?:[A-Fa-f0-9]{16}|local)_)?[A-Fa-f0-9]{40}", 2.8),
    ("square-token", "EAAA sq0atp- sq0csp-", r"[A-Za-z0-9_-]{22,60}", 3.3),
    ("stripe-key", "sk_test_ sk_live_ sk_prod_ rk_test_ rk_live_ rk_prod_ whsec_", r"[A-Za-z0-9]{10,247}", 2.5),
    ("supabase-key", "sbp_", r"[a-f0-9]{40}", 2.8),
    ("tailscale-key", "tskey-", r"[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}", 3.0),
    (
        "twilio-key",
        "SK0 SK1 SK2 SK3 SK4 SK5 SK6 SK7 SK8 SK9 SKa SKb SKc SKd SKe SKf SKA SKB SKC SKD SKE SKF AC0 AC1 AC2 AC3 AC4 AC5 AC6 AC7 AC8 AC9 ACa ACb ACc ACd ACe ACf ACA ACB ACC ACD ACE ACF",
        r"[0-9a-fA-F]{31}",
        2.6,
    ),
    ("twitter-bearer-token", "AAAAAAAAAAAAAAAAAAAAAA", r"[A-Za-z0-9%]{60,120}", 3.5),
    ("typeform-token", "tfp_", r"[A-Za-z0-9_.=-]{40,60}", 3.0),
    ("vercel-token", "vcp_ vck_", r"[A-Za-z0-9]{24,60}", 3.0),
    ("xai-key", "xai-", r"[A-Za-z0-9]{80}", 4.0),
    ("yandex-token", "t1.", r"[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]{86}={0,2}", 3.5),
    ("yandex-key", "AQVN", r"[A-Za-z0-9_-]{35,38}", 3.5),
];

/// Forms that a prefix and a body do not describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A PEM private key.
    PrivateKey,
    /// A JSON Web Token.
    Jwt,
    /// A JSON Web Token in base64 once more.
    JwtTwice,
    /// `scheme://user:password@host`.
    UrlPassword,
    /// `curl -u user:password`.
    Curl,
    /// `Authorization: Bearer …`.
    AuthorizationHeader,
    /// `NNNN:AA…`, a Telegram bot.
    TelegramBot,
    /// `…-us12`, a Mailchimp key.
    Mailchimp,
    /// `….atlasv1.…`, a Terraform Cloud token.
    Terraform,
    /// `…_mmk`, a MaxMind licence.
    Maxmind,
    /// `…Q~…`, a Microsoft Entra client secret.
    Entra,
    /// `_authToken=…` of npm.
    NpmAuth,
    /// `<add key="Password" value="…"/>` of NuGet.
    NugetPassword,
    /// `s.…`, a Vault token of old.
    OldVaultToken,
}

/// The keyword by which each form is noticed.
pub(super) const FORMS: &[(&str, Form)] = &[
    ("-----begin", Form::PrivateKey),
    (".ey", Form::Jwt),
    ("zxlk", Form::JwtTwice),
    ("://", Form::UrlPassword),
    ("curl", Form::Curl),
    ("authorization:", Form::AuthorizationHeader),
    (":aa", Form::TelegramBot),
    ("-us", Form::Mailchimp),
    (".atlasv1.", Form::Terraform),
    ("_mmk", Form::Maxmind),
    ("8q~", Form::Entra),
    ("7q~", Form::Entra),
    (":_authtoken=", Form::NpmAuth),
    ("<add key=", Form::NugetPassword),
    (" s.", Form::OldVaultToken),
    ("=s.", Form::OldVaultToken),
    (":s.", Form::OldVaultToken),
    ("'s.", Form::OldVaultToken),
    ("\"s.", Form::OldVaultToken),
    ("`s.", Form::OldVaultToken),
    ("\ns.", Form::OldVaultToken),
    (">s.", Form::OldVaultToken),
];

type Found = Option<(&'static str, usize, usize)>;

/// A regular expression, compiled when it is first needed.
struct Lazy(&'static str, OnceLock<Option<Regex>>);

impl Lazy {
    const fn new(pattern: &'static str) -> Self {
        Self(pattern, OnceLock::new())
    }

    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let regex = self.1.get_or_init(|| Regex::new(self.0).ok()).as_ref()?;
        regex.captures(text).and_then(|found| found.get(1)).map(|group| (group.start(), group.end()))
    }
}

impl Form {
    /// The secret of this form whose keyword stands at `start..end`, if it is one.
    pub(super) fn check(self, text: &[u8], start: usize, end: usize) -> Found {
        static PRIVATE_KEY: Lazy =
            Lazy::new(r"(?i-u)\A(-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----[^-]{64,}?(?:-|\z))");
        static JWT: Lazy =
            Lazy::new(r"(?-u)\A(ey[A-Za-z0-9_-]{17,}\.ey[A-Za-z0-9/\\_-]{17,}(?:\.[A-Za-z0-9/\\_-]*={0,2})?)");
        static JWT_TWICE: Lazy = Lazy::new(r"(?-u)\A(ZXlK[A-Za-z0-9+/_-]{40,}={0,2})");
        static USERINFO: Lazy = Lazy::new(
            r"(?-u)\A[^\s/?#@:\x22\x27`<>\\${}\[\]()|]{0,128}:([^\s/?#@:\x22\x27`<>\\${}\[\]()|]{3,128})@[A-Za-z0-9]",
        );
        static CURL: Lazy = Lazy::new(
            r"(?-u)\A[^\r\n]{0,512}?[ \t](?:-u|--user)[ =\t]{0,5}[\x22\x27]?([A-Za-z0-9_.@-]{3,64}:[A-Za-z0-9_.!#%^&*+=-]{4,64})(?:[\x22\x27\s]|\z)",
        );
        static HEADER: Lazy = Lazy::new(
            r"(?i-u)\A[ \t]{0,8}(?:bearer|basic|token|api-?token)[ \t]{1,4}([A-Za-z0-9_=~@.+/-]{10,2048})(?:[\x22\x27`\s,;<\\]|\z)",
        );
        static TELEGRAM: Lazy = Lazy::new(r"(?-u)\A(:A[A-Za-z0-9_-]{34})(?:[^A-Za-z0-9_-]|\z)");
        static NPM: Lazy = Lazy::new(r"(?-u)\A\s{0,3}((?:npm_[A-Za-z0-9]{8,}|[A-Fa-f0-9-]{36}))");
        static TERRAFORM: Lazy = Lazy::new(r"(?-u)\A([A-Za-z0-9=_-]{60,70})(?:[^A-Za-z0-9=_-]|\z)");
        static ENTRA: Lazy = Lazy::new(r"(?-u)\A([A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|\z)");
        static NUGET: Lazy =
            Lazy::new(r"(?i-u)\A\x22(?:ClearText)?Password\x22\s{0,8}value\s{0,2}=\s{0,2}\x22([^\x22%${]{8,256})\x22");
        let ahead = |from: usize, most: usize| &text[from..text.len().min(from + most)];
        let fresh = start == 0 || !(text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'_');
        match self {
            Self::PrivateKey => {
                let (_, to) = PRIVATE_KEY.find(ahead(start, 16 * 1024))?;
                Some(("private-key", start, start + to))
            }
            Self::Jwt => {
                // The keyword is the beginning of the second part.
                let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
                let head = text[..start].iter().rev().take(4096).take_while(|b| part(b)).count();
                let from = start - head;
                if head < 19 || !text[from..].starts_with(b"ey") || text[start + 1] != b'e' {
                    return None;
                }
                let (_, to) = JWT.find(ahead(from, 8192))?;
                let token = &text[from..from + to];
                (entropy(token) >= 3.0 && !jwt::names_nobody(token)).then_some(("jwt", from, from + to))
            }
            Self::JwtTwice => {
                let (_, to) = fresh.then(|| JWT_TWICE.find(ahead(start, 8192)))??;
                Some(("jwt-base64", start, start + to))
            }
            Self::UrlPassword => {
                // Most URLs go on to a path: the expression is asked only where a colon comes first.
                let ends = |b: &&u8| match **b {
                    b'\t'..=b'\r' | b' ' | b'/' | b'?' | b'#' | b'@' | b':' | b'"' | b'\'' | b'`' | b'<' | b'>' => true,
                    b => matches!(b, b'\\' | b'$' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'|'),
                };
                let first = ahead(end, 129).iter().find(ends)?;
                let (from, to) = (*first == b':').then(|| USERINFO.find(ahead(end, 300)))??;
                let password = &text[end + from..end + to];
                (entropy(password) > 1.0 && !password.starts_with(b"%s")).then_some((
                    "url-password",
                    end + from,
                    end + to,
                ))
            }
            Self::Curl => {
                let (from, to) = fresh.then(|| CURL.find(ahead(end, 700)))??;
                let (from, to) = (end + from, end + to);
                let colon = from + text[from..to].iter().position(|b| *b == b':')? + 1;
                let makeup = Makeup::of(&text[colon..to]);
                (makeup.digits > 0 && makeup.digits < to - colon && !is_placeholder(&text[colon..to])).then_some((
                    "curl-user",
                    colon,
                    to,
                ))
            }
            Self::AuthorizationHeader => {
                let (from, to) = HEADER.find(ahead(end, 2100))?;
                let (from, to) = (end + from, end + to);
                // Name and password in base64 (RFC 7617), which has no dots; where a token stands in that place, it is
                // looked at as one.
                if text[end..from].trim_ascii().eq_ignore_ascii_case(b"basic") && text[from..to].contains(&b'.') {
                    return None;
                }
                let makeup = Makeup::of(&text[from..to]);
                let random = makeup.digits > 0 && makeup.lower + makeup.upper > 0 && entropy(&text[from..to]) >= 2.8;
                (random && !is_placeholder(&text[from..to])).then_some(("authorization-header", from, to))
            }
            Self::TelegramBot => {
                let (_, to) = TELEGRAM.find(ahead(start, 64))?;
                let digits = text[..start].iter().rev().take(17).take_while(|b| b.is_ascii_digit()).count();
                (5..=16).contains(&digits).then_some(("telegram-bot-token", start - digits, start + to))
            }
            Self::Mailchimp => {
                let hex = text[..start].iter().rev().take(33).take_while(|b| b.is_ascii_hexdigit()).count();
                let digits = ahead(end, 3).iter().take_while(|b| b.is_ascii_digit()).count();
                let key = hex == 32 && (1..=2).contains(&digits) && entropy(&text[start - hex..start]) >= 2.5;
                key.then_some(("mailchimp-key", start - hex, end + digits))
            }
            Self::Terraform => {
                let id = text[..start].iter().rev().take(15).take_while(|b| b.is_ascii_alphanumeric()).count();
                let (_, to) = TERRAFORM.find(ahead(end, 80))?;
                (id == 14 && entropy(&text[end..end + to]) >= 3.5).then_some(("terraform-token", start - id, end + to))
            }
            Self::Maxmind => {
                let from = start.checked_sub(36)?;
                let key = &text[from..start];
                let shaped =
                    key.iter().enumerate().all(|(at, b)| if at == 6 { *b == b'_' } else { b.is_ascii_alphanumeric() });
                (shaped && entropy(key) >= 3.5).then_some(("maxmind-licence", from, end))
            }
            Self::Entra => {
                let from = start.checked_sub(4)?;
                let (_, to) = ENTRA.find(ahead(end, 40))?;
                let shaped = text[start] == b'Q' && text[start - 1].is_ascii_digit();
                (shaped && entropy(&text[end..end + to]) >= 3.0).then_some(("entra-client-secret", from, end + to))
            }
            Self::NpmAuth => {
                let named = text[..start].ends_with(b"/") && start > 3 && text[start - 2] != b'/';
                let (from, to) = named.then(|| NPM.find(ahead(end, 80)))??;
                Some(("npm-token", end + from, end + to))
            }
            Self::NugetPassword => {
                let (from, to) = NUGET.find(ahead(end, 320))?;
                (!is_placeholder(&text[end + from..end + to])).then_some(("nuget-password", end + from, end + to))
            }
            Self::OldVaultToken => old_vault_token(text, start + 1).map(|(start, end)| ("vault-token", start, end)),
        }
    }
}

/// A Vault token of old whose `s` stands at `start`.
fn old_vault_token(text: &[u8], start: usize) -> Option<(usize, usize)> {
    if !text[start..].starts_with(b"s.") {
        return None;
    }
    let from = start + 2;
    let body = &text[from..from + text[from..].iter().take(25).take_while(|b| b.is_ascii_alphanumeric()).count()];
    // Without a digit it is a field of something called `s`.
    let random = body.len() == 24 && Makeup::of(body).digits > 0 && entropy(body) >= 3.5 && !is_placeholder(body);
    random.then_some((start, from + body.len()))
}

/// Tokens that no keyword announces: a Vault token at the very beginning, and what a Discord bot shows (two dots seven
/// bytes apart).
pub(super) fn unannounced(text: &[u8]) -> impl Iterator<Item = (&'static str, usize, usize)> + '_ {
    const BLOCK: usize = 1024;
    let vault = old_vault_token(text, 0).map(|(start, end)| ("vault-token", start, end));
    let later = text.get(7..).unwrap_or_default();
    let blocks = text.chunks(BLOCK).zip(later.chunks(BLOCK)).enumerate().filter(|(_, (here, there))| {
        // Without a way out of the loop, so that it becomes vector code.
        here.iter().zip(*there).fold(0, |any, (a, b)| any | (u8::from(*a == b'.') & u8::from(*b == b'.'))) != 0
    });
    let bots = blocks.flat_map(move |(index, (here, _))| {
        let dots = here.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(move |(at, _)| index * BLOCK + at);
        dots.filter_map(move |dot| dotted_bot(text, dot))
    });
    vault.into_iter().chain(bots)
}

/// `[MNO]…(24 to 26).……(6).…(27 and more)`: the id of a bot in base64, a time, a keyed hash.
fn dotted_bot(text: &[u8], dot: usize) -> Found {
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if text.get(dot + 7) != Some(&b'.') || !text[dot + 1..dot + 7].iter().all(part) {
        return None;
    }
    let id = text[..dot].iter().rev().take(26).take_while(|b| part(b)).count();
    let id = (24..=id).rev().find(|len| matches!(text[dot - len], b'M' | b'N' | b'O'))?;
    let hash = text[dot + 8..].iter().take(38).take_while(|b| part(b)).count();
    let token = &text[dot - id..dot + 8 + hash];
    let makeup = Makeup::of(token);
    (hash >= 27 && makeup.digits > 2 && makeup.upper > 4 && makeup.lower > 4).then_some((
        "discord-bot-token",
        dot - id,
        dot + 8 + hash,
    ))
}
