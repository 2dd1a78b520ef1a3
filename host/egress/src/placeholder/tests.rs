//! Finding and refusing, without a vault or a network. What is swapped is tested over both, in `tests/egress`.

use super::*;
use sophon_types::Fault as _;

/// Two fields of one connection: a token for headers, a secret with places of its own.
fn handed() -> (Handed, String, String) {
    let mut handed = Handed::default();
    let core = |letter: &str| format!("sophon-ph-{}", letter.repeat(40));
    let service: ServiceName = "svc".parse().unwrap();
    let plain = handed.add_placeholder(&core("a"), &service, Some("token"), None, None);
    let placing = Placing {
        shape: Some("{}:fx".parse().unwrap()),
        positions: ["path", "query:key", "form:secret", "json:auth.secret", "json:list[].x"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect(),
    };
    let placed = handed.add_placeholder(&core("b"), &service, Some("secret"), Some(&placing), None);
    (handed, plain, placed)
}

fn get(url: &str) -> HttpRequest {
    HttpRequest::new("GET", url)
}

fn post(media_type: &str, body: &str) -> HttpRequest {
    let mut request = HttpRequest::new("POST", "https://svc.example/x");
    request.headers = vec![("Content-Type".into(), media_type.as_bytes().to_vec())];
    request.body = Some(Bytes::from(body.to_owned()));
    request
}

fn with(name: &str, value: &str) -> HttpRequest {
    let mut request = get("https://svc.example/x");
    request.headers = vec![(name.into(), value.as_bytes().to_vec())];
    request
}

#[test]
fn a_placeholder_keeps_its_shape() {
    let (_, plain, placed) = handed();
    assert_eq!(plain, format!("sophon-ph-{}", "a".repeat(40)));
    assert_eq!(placed, format!("sophon-ph-{}:fx", "b".repeat(40)));
}

#[test]
fn a_placeholder_is_found_where_it_may_stand() {
    let (handed, plain, placed) = handed();
    let check = |request: HttpRequest, expected: &str| {
        let found = handed.redemption(&request).unwrap_or_else(|error| panic!("{}: {error}", request.url)).unwrap();
        let mut parts: Vec<String> = found.fields;
        parts.extend(found.basic.then(|| "basic".to_owned()));
        parts.extend(found.url.then(|| "url".to_owned()));
        parts.extend(found.body.map(|body| format!("{body:?}")));
        assert_eq!(parts.join(" "), expected);
    };
    check(with("Authorization", &format!("Bearer {plain}")), "authorization");
    check(with("Authorization", &format!("Token token=\"{plain}\", v=1")), "authorization");
    check(with("X-Api-Key", &placed), "x-api-key");
    check(with("PRIVATE-TOKEN", &plain), "private-token");
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    check(with("Authorization", &basic(format!("user:{plain}"))), "authorization basic");
    check(with("Authorization", &basic(format!("{plain}:X"))), "authorization basic");
    check(with("Authorization", &basic(format!(":{plain}"))), "authorization basic");
    let quoted = placed.replace(':', "%3A");
    check(get(&format!("https://svc.example/bot{quoted}/send?x=1")), "url");
    check(get(&format!("https://svc.example/?a=b&key={quoted}")), "url");
    check(post("application/x-www-form-urlencoded", &format!("grant_type=c&secret={quoted}")), "Form");
    check(post("application/json; charset=utf-8", &format!(r#"{{"auth":{{"secret":"{placed}"}}}}"#)), "Json");
    check(post("application/vnd.api+json", &format!(r#"{{"list":[{{"x":"{placed}"}}]}}"#)), "Json");
    assert_eq!(handed.redemption(&get("https://svc.example/")).unwrap(), None);
}

#[test]
fn attack_17_a_placeholder_in_any_other_place_is_refused() {
    let (handed, plain, placed) = handed();
    let refused = |request: HttpRequest| {
        let error = handed.redemption(&request).expect_err(&format!("{request:?} {}", request.url));
        assert!(error.hint().is_some());
        error.code().to_owned()
    };
    let mut places = vec![
        get(&format!("https://{plain}.evil.example/")),
        get(&format!("https://svc.example/{plain}")),
        get(&format!("https://svc.example/?key={plain}")),
        get(&format!("https://svc.example/?other={placed}")),
        get(&format!("https://svc.example/?{placed}=1")),
        get(&format!("https://svc.example/#{placed}")),
        post("application/x-www-form-urlencoded", &format!("message={placed}")),
        post("application/x-www-form-urlencoded", &format!("secret={plain}")),
        post("application/json", &format!(r#"{{"secret":"{placed}"}}"#)),
        post("application/json", &format!(r#"{{"{placed}":1}}"#)),
        post("application/json", &format!(r#"{{"auth":{{"secret":"{placed}","secret":"x"}}}}"#)),
        post("application/json", &format!(r#"{{"auth":{{"secret":"{placed}"}},"auth":{{}}}}"#)),
        post("application/json", &format!(r#"{{"x":1,"auth":{{"secret":"{placed}"}},"x":2}}"#)),
        // Written like the place that was named, and another one.
        post("application/json", &format!(r#"{{"auth.secret":"{placed}"}}"#)),
        post("application/json", &format!(r#"{{"auth":{{"secret":"{placed}"}}"#)),
        post("text/plain", &format!("secret={placed}")),
        post("multipart/form-data; boundary=x", &placed),
        with("Content-Type", &plain),
        with("Content-Disposition", &format!("attachment; filename={plain}")),
        with("Slug", &plain),
        with("X-Amz-Meta-Api-Key", &plain),
        with("User-Agent", &plain),
        with("X-Note", &plain),
        with(&plain, "x"),
    ];
    let mut twice = post("application/json", &format!(r#"{{"auth":{{"secret":"{placed}"}}}}"#));
    twice.headers.push(("content-type".into(), b"text/plain".to_vec()));
    places.push(twice);
    for request in places {
        assert_eq!(refused(request), "placeholder_misplaced");
    }
    let stranger = format!("sophon-ph-{}", "c".repeat(40));
    assert_eq!(refused(with("Authorization", &stranger)), "placeholder_unknown");
    assert_eq!(refused(get(&format!("https://svc.example/{stranger}"))), "placeholder_unknown");
}

#[test]
fn a_placeholder_that_is_misplaced_comes_with_the_flag_for_its_place() {
    let (handed, _, placed) = handed();
    let check = |request: HttpRequest, flag: Option<&str>| {
        let hint = handed.redemption(&request).unwrap_err().hint().unwrap();
        match flag {
            Some(flag) => assert!(hint.ends_with(&format!("does so again with --place {flag}")), "{hint}"),
            None => assert!(!hint.contains("does so again"), "{hint}"),
        }
    };
    let form = "application/x-www-form-urlencoded";
    check(post(form, &format!("a=b&client_secret={placed}")), Some("secret=form:client_secret"));
    check(get(&format!("https://svc.example/?api_key={placed}")), Some("secret=query:api_key"));
    check(post("application/json", &format!(r#"{{"a":{{"b":"{placed}"}}}}"#)), Some("secret=json:a.b"));
    check(post("application/json", &format!(r#"{{"a":[{{"b":"{placed}"}}]}}"#)), Some("'secret=json:a[].b'"));
    check(with("X-Note", &placed), Some("secret=header:x-note"));
    // Where nobody may name it, or the name is no plain one.
    check(with("Content-Disposition", &placed), None);
    check(post("application/json", &format!(r#"{{"ignore all of it":"{placed}"}}"#)), None);
    check(post("text/plain", &placed), None);
    let (mut handed, ..) = self::handed();
    let core = format!("sophon-ph-{}", "d".repeat(40));
    let elsewhere = handed.add_placeholder(&core, &"svc".parse().unwrap(), Some("token"), None, None);
    let hint = handed.redemption(&get(&format!("https://svc.example/bot{elsewhere}/x"))).unwrap_err().hint().unwrap();
    assert!(hint.ends_with("--place token=path"), "{hint}");
}

#[test]
fn attack_17_no_key_that_stands_twice_hides_where_a_placeholder_is() {
    let (handed, plain, placed) = handed();
    // What is counted makes up for what is hidden: one of three is not looked at, one that is none is.
    for body in [
        format!(
            r#"{{"comment":{{"body":"{placed}"}},"comment":{{}},"note":"\u0073ophon-ph-","auth":{{"secret":"{placed}"}}}}"#
        ),
        format!(r#"{{"comment":"{placed}","comment":"sophon-ph-\u002d","auth":{{"secret":"{placed}"}}}}"#),
        format!(r#"{{"auth":{{"secret":"{placed}"}},"auth":{{"secret":"sophon-ph-"}}}}"#),
        format!(r#"{{"auth":{{"secret":"\u0073{}"}},"note":"sophon-ph-"}}"#, &placed[1..]),
        format!(r#"{{"auth":{{"secret":"\u0073{}"}},"note":"sophon-ph-{}"}}"#, &placed[1..], "x".repeat(40)),
    ] {
        let error = handed.redemption(&post("application/json", &body)).expect_err(&body);
        assert!(error.code().starts_with("placeholder_"), "{body}: {error}");
    }
    // A text that only begins like one is a text.
    let note = post("application/json", &format!(r#"{{"auth":{{"secret":"{placed}"}},"note":"sophon-ph- \u0061"}}"#));
    assert_eq!(handed.redemption(&note).unwrap().unwrap().body, Some(Body::Json));
    let note = post("application/json", r#"{"note":"sophon-ph-","note":"sophon-ph-"}"#);
    assert_eq!(handed.redemption(&note).unwrap(), None);
    drop(plain);
}

#[test]
fn attack_17_a_header_field_that_an_api_may_publish_is_named_by_a_person_or_refused() {
    let service: ServiceName = "svc".parse().unwrap();
    let mut handed = Handed::default();
    let placing = Placing { shape: None, positions: ["header:X-Hook".parse().unwrap()].into() };
    let placed =
        handed.add_placeholder(&format!("sophon-ph-{}", "a".repeat(40)), &service, Some("hook"), Some(&placing), None);
    for name in ["X-Hook", "x-hook", "Authorization"] {
        let found = handed.redemption(&with(name, &placed)).unwrap().unwrap();
        assert_eq!(found.fields, [name.to_ascii_lowercase()]);
    }
    let error = handed.redemption(&with("X-Note", &placed)).unwrap_err();
    assert_eq!(error.code(), "placeholder_misplaced");
    assert!(error.hint().unwrap().contains("header:x-hook"), "{:?}", error.hint());
}

#[test]
fn attack_17_a_placeholder_in_disguise_is_refused() {
    let (handed, plain, placed) = handed();
    let reversed: String = plain.chars().rev().collect();
    let escaped: String = plain.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let quoted: String = plain.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for text in [
        STANDARD.encode(&plain),
        STANDARD.encode(format!("x{plain}")),
        hex_of(plain.as_bytes()),
        reversed,
        plain.to_uppercase(),
        plain[..plain.len() / 2].to_owned(),
    ] {
        for request in [
            get(&format!(
                "https://svc.example/?q={}",
                text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
            )),
            with("X-Note", &text),
            post("text/plain", &text),
            post("application/json", &format!(r#"{{"note":"{text}"}}"#)),
        ] {
            let error = handed.redemption(&request).expect_err(&text);
            assert_eq!(error.code(), "placeholder_misplaced", "{text}");
        }
    }
    assert!(handed.redemption(&get(&format!("https://svc.example/{quoted}"))).is_err());
    assert!(handed.redemption(&post("application/json", &format!(r#"{{"auth":{{"secret":"{escaped}"}}}}"#))).is_err());
    // Beside one that may stand there.
    let both = format!("{}; {}", plain, STANDARD.encode(&placed));
    assert!(handed.redemption(&with("X-Api-Key", &both)).is_err());
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn one_request_redeems_one_connection() {
    let (mut handed, plain, _) = handed();
    let other =
        handed.add_placeholder(&format!("sophon-ph-{}", "d".repeat(40)), &"other".parse().unwrap(), None, None, None);
    let mut request = with("X-Api-Key", &plain);
    request.headers.push(("X-Other-Key".into(), other.clone().into_bytes()));
    assert!(handed.redemption(&request).unwrap_err().to_string().contains("one connection"));
    let together = with("X-Api-Key", &format!("{plain} {other}"));
    assert!(handed.redemption(&together).unwrap_err().to_string().contains("one connection"));
}

fn redemption(body: Option<Body>) -> Redemption {
    Redemption { service: "svc".parse().unwrap(), fields: vec![], basic: false, url: false, hook: false, body }
}

#[test]
fn tokens_of_answers_are_told_by_their_names() {
    let names = |redemption: &Redemption, media_type: &str, body: &str| {
        let found = tokens(redemption, Some(media_type), &[("x-auth-token", b"header-token-1")], body.as_bytes());
        found.unwrap().into_iter().map(|found| format!("{}={}", found.name, found.token)).collect::<Vec<_>>()
    };
    let body = r#"{"access_token":"at-12345678","expires_in":3600,"token":"t-123456789","name":"a long name",
                   "data":{"sessionId":"s-12345678"},"refresh_token":"short"}"#;
    let login = redemption(Some(Body::Form));
    assert_eq!(
        names(&login, "application/json", body),
        ["access_token=at-12345678", "sessionId=s-12345678", "token=t-123456789", "x-auth-token=header-token-1"]
    );
    assert_eq!(names(&login, "text/html", body).len(), 4, "JSON under another name");
    assert_eq!(
        names(&login, "application/x-www-form-urlencoded", "access_token=at%2B12345678&scope=a"),
        ["access_token=at+12345678", "x-auth-token=header-token-1"]
    );
    // With a header field alone it is an ordinary request.
    assert_eq!(names(&redemption(None), "application/json", body), ["access_token=at-12345678"]);
    assert_eq!(names(&redemption(None), "text/plain", "nothing"), Vec::<String>::new());
    // With a user and password, or in the URL, many services take every request.
    for ordinary in [Redemption { basic: true, ..redemption(None) }, Redemption { url: true, ..redemption(None) }] {
        let body =
            r#"{"sid":"SM0123456789abcdef","status":"queued","session":"s-12345678","access_token":"at-12345678"}"#;
        assert_eq!(
            names(&ordinary, "application/json", body),
            ["access_token=at-12345678", "x-auth-token=header-token-1"]
        );
    }
}

#[test]
fn attack_16_tokens_of_a_login_are_told_by_what_their_names_end_in() {
    let found = |redemption: &Redemption, name: &str| {
        let body =
            serde_json::json!({"auth": {name: "s.0123456789abcdef", "lease_duration": "0123456789"}}).to_string();
        !tokens(redemption, Some("application/json"), &[], body.as_bytes()).unwrap().is_empty()
    };
    let (login, ordinary) = (redemption(Some(Body::Json)), redemption(None));
    for name in [
        "client_token",
        "clientToken",
        "wrapping_token",
        "x-auth-token",
        "ssoJwt",
        "loginTicket",
        "connect.sid",
        "loginSid",
        "SID",
        "PHPSESSID",
        "newSessionId",
        "adminApiKey",
        "awsAccessKey",
        "signing-secret",
        "session",
        "bearer",
    ] {
        assert!(found(&login, name), "{name}");
        assert!(!found(&ordinary, name), "{name}: an ordinary answer has such fields too");
    }
    for name in [
        "nextPageToken",
        "next_token",
        "continuationToken",
        "syncToken",
        "statusId",
        "businessId",
        "address_id",
        "accountSid",
        "objectSid",
        "accessor",
        "token_type",
        "secretName",
        "id",
    ] {
        assert!(!found(&login, name), "{name}");
    }
}

#[test]
fn attack_16_an_answer_to_a_login_is_read_whole_or_not_passed_on() {
    let login = redemption(Some(Body::Json));
    let read = |media_type: &str, body: &[u8]| tokens(&login, Some(media_type), &[], body);
    let json = r#"{"access_token":"at-12345678"}"#;
    let token = |found: Result<BTreeSet<answer::Found>, answer::Unreadable>| -> Vec<String> {
        found.unwrap().into_iter().map(|found| found.token).collect()
    };
    // Whatever it calls itself.
    for media_type in ["application/json", "text/html", "application/x-www-form-urlencoded", ""] {
        assert_eq!(token(read(media_type, json.as_bytes())), ["at-12345678"], "{media_type}");
        assert_eq!(token(read(media_type, format!("\u{feff} {json}\n").as_bytes())), ["at-12345678"], "{media_type}");
    }
    assert_eq!(token(read("application/json", br#"{"token":"t-11111111","token":"t-22222222"}"#)).len(), 2);
    assert_eq!(token(read("application/json", br#""at-12345678""#)), ["at-12345678"]);
    assert_eq!(token(read("application/x-www-form-urlencoded", b"token=t-11111111&token=t-22222222")).len(), 2);
    for short in [&b""[..], b"ok", b" \n success\n"] {
        assert!(read("text/plain", short).unwrap().is_empty());
    }
    let wide: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (media_type, body) in [
        ("application/json", &wide[..]),
        ("application/json; charset=utf-16", &wide[..]),
        ("text/xml", b"<login><token>at-12345678</token></login>"),
        ("application/x-www-form-urlencoded", b"<login><token>at-12345678</token></login>"),
        ("text/javascript", br#"done({"access_token":"at-12345678"})"#),
        ("application/json", br#"{"a":1}{"access_token":"at-12345678"}"#),
        ("text/plain", b"access_token=at-12345678"),
        ("text/plain", b"1234567890123456"),
        ("application/octet-stream", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"),
    ] {
        assert_eq!(read(media_type, body), Err(answer::Unreadable), "{media_type} {}", String::from_utf8_lossy(body));
        // What is no login is nobody's business.
        assert!(tokens(&redemption(None), Some(media_type), &[], body).is_ok());
    }
}

#[test]
fn attack_16_a_token_of_an_answer_becomes_a_placeholder_in_every_spelling() {
    let (mut handed, ..) = handed();
    let login = redemption(Some(Body::Form));
    let body =
        r#"{"access_token":"a/b+c\"12345678","again":"a\/b+c\"12345678","link":"https://x/?t=a%2Fb%2Bc%2212345678"}"#;
    let found = tokens(&login, Some("application/json"), &[], body.as_bytes()).unwrap();
    let token = "a/b+c\"12345678";
    handed.add_token(&format!("sophon-ph-{}", "e".repeat(40)), &login, "access_token", token.as_bytes());
    let hidden = String::from_utf8(handed.swaps(&login, &found).unwrap().apply(body.as_bytes())).unwrap();
    let placeholder = handed.token(&login.service, token.as_bytes()).unwrap();
    assert_eq!(
        hidden,
        format!(r#"{{"access_token":"{placeholder}","again":"{placeholder}","link":"https://x/?t={placeholder}"}}"#)
    );
    // It goes where the secret may go, and back into the form that it came from.
    let back = post("application/x-www-form-urlencoded", &format!("access_token={placeholder}"));
    assert!(handed.redemption(&back).unwrap().is_some());
    assert!(handed.redemption(&with("Authorization", &format!("Bearer {placeholder}"))).unwrap().is_some());
    let elsewhere = post("application/x-www-form-urlencoded", &format!("text={placeholder}"));
    assert!(handed.redemption(&elsewhere).is_err());
}

#[test]
fn attack_16_of_tokens_that_are_part_of_each_other_the_longest_is_replaced() {
    let (mut handed, ..) = handed();
    let login = redemption(Some(Body::Json));
    // The second is how a URL writes the first.
    let list = ["abc/12345678", "abc%2F12345678", "abc/12345678-and-more"];
    let mut found = BTreeSet::new();
    for (token, letter) in list.iter().zip(["e", "f", "d"]) {
        found.insert(answer::Found { name: "token".into(), token: (*token).to_owned() });
        handed.add_token(&format!("sophon-ph-{}", letter.repeat(40)), &login, "token", token.as_bytes());
    }
    let swaps = handed.swaps(&login, &found).unwrap();
    let swapped = String::from_utf8(swaps.apply(list.join(" ").as_bytes())).unwrap();
    let expected: Vec<String> =
        ["e", "f", "d"].iter().map(|letter| format!("sophon-ph-{}", letter.repeat(40))).collect();
    assert_eq!(swapped, expected.join(" "));
    assert!(handed.swaps(&login, &BTreeSet::new()).unwrap().apply(b"nothing") == b"nothing");
}

proptest::proptest! {
    #[test]
    fn whatever_a_request_holds_reading_it_ends(url in "https://[a-z]{1,5}\\PC{0,60}", body in "\\PC{0,120}", json in proptest::bool::ANY) {
        let (handed, plain, _) = handed();
        let mut request = post(if json { "application/json" } else { "application/x-www-form-urlencoded" }, &format!("{body}{plain}"));
        request.url = url;
        // The plain one may stand in no body.
        proptest::prop_assert!(handed.redemption(&request).is_err());
    }
}
