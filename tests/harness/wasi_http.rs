//! The second door: a guest that speaks `wasi:http`, down to the canonical ABI.

use super::guest::{Data, Imports};

/// As much of WASI 0.2 as the guest uses. An import is checked function by function, so a part is enough.
const IO: &str = "
package wasi:io@0.2.0;
interface error { resource error; }
interface poll {
    resource pollable { block: func(); }
}
interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource input-stream {
        blocking-read: func(len: u64) -> result<list<u8>, stream-error>;
    }
}
";
const HTTP: &str = "
package wasi:http@0.2.0;
interface types {
    use wasi:io/poll@0.2.0.{pollable};
    use wasi:io/streams@0.2.0.{input-stream};
    variant scheme { HTTP, HTTPS, other(string) }
    record DNS-error-payload { rcode: option<string>, info-code: option<u16> }
    record TLS-alert-received-payload { alert-id: option<u8>, alert-message: option<string> }
    record field-size-payload { field-name: option<string>, field-size: option<u32> }
    variant error-code {
        DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable,
        destination-IP-prohibited, destination-IP-unroutable, connection-refused, connection-terminated,
        connection-timeout, connection-read-timeout, connection-write-timeout, connection-limit-reached,
        TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload),
        HTTP-request-denied, HTTP-request-length-required, HTTP-request-body-size(option<u64>),
        HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long,
        HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<field-size-payload>),
        HTTP-request-trailer-section-size(option<u32>), HTTP-request-trailer-size(field-size-payload),
        HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>),
        HTTP-response-header-size(field-size-payload), HTTP-response-body-size(option<u64>),
        HTTP-response-trailer-section-size(option<u32>), HTTP-response-trailer-size(field-size-payload),
        HTTP-response-transfer-coding(option<string>), HTTP-response-content-coding(option<string>),
        HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error, loop-detected, configuration-error,
        internal-error(option<string>),
    }
    resource fields { constructor(); }
    type headers = fields;
    type status-code = u16;
    resource outgoing-request {
        constructor(headers: headers);
        set-path-with-query: func(path-with-query: option<string>) -> result;
        set-scheme: func(scheme: option<scheme>) -> result;
        set-authority: func(authority: option<string>) -> result;
    }
    resource request-options { constructor(); }
    resource incoming-response {
        status: func() -> status-code;
        consume: func() -> result<incoming-body>;
    }
    resource incoming-body { %stream: func() -> result<input-stream>; }
    resource future-incoming-response {
        subscribe: func() -> pollable;
        get: func() -> option<result<result<incoming-response, error-code>>>;
    }
}
interface outgoing-handler {
    use types.{outgoing-request, request-options, future-incoming-response, error-code};
    handle: func(request: outgoing-request, options: option<request-options>) -> result<future-incoming-response, error-code>;
}
";

/// The imports of the world, those of the module, and the code that sends a GET over https and returns the first 64 KiB
/// of the body in letters; where the host refuses, the case of `error-code` as the message of an error.
pub(super) fn send(authority: &str, path: &str, data: &mut Data) -> (Imports, String, String) {
    let authority = data.put(authority.as_bytes());
    let path = data.put(path.as_bytes());
    let import = r#"
      (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
      (import "wasi:http/types@0.2.0" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
      (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-path-with-query" (func $path (param i32 i32 i32 i32) (result i32)))
      (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
      (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-authority" (func $authority (param i32 i32 i32 i32) (result i32)))
      (import "wasi:http/outgoing-handler@0.2.0" "handle" (func $handle (param i32 i32 i32 i32)))
      (import "wasi:http/types@0.2.0" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
      (import "wasi:http/types@0.2.0" "[method]future-incoming-response.get" (func $get (param i32 i32)))
      (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
      (import "wasi:http/types@0.2.0" "[method]incoming-response.consume" (func $consume (param i32 i32)))
      (import "wasi:http/types@0.2.0" "[method]incoming-body.stream" (func $stream (param i32 i32)))
      (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
    "#;
    // `get` at 256: some at +0; the outer result at +8; the inner at +16; its payload at +24 (an error's case there).
    let code = format!(
        "(local.set $i (call $request (call $fields)))
         (drop (call $path (local.get $i) (i32.const 1) (i32.const {p0}) (i32.const {p1})))
         (drop (call $scheme (local.get $i) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0)))
         (drop (call $authority (local.get $i) (i32.const 1) (i32.const {a0}) (i32.const {a1})))
         (call $handle (local.get $i) (i32.const 0) (i32.const 0) (i32.const 256))
         (local.set $from (call $open (i32.const 131072)))
         (if (result i32) (i32.load8_u (i32.const 256))
           (then {handle_failed})
           (else
             (local.set $i (i32.load (i32.const 264)))
             (call $block (call $subscribe (local.get $i)))
             (call $get (local.get $i) (i32.const 256))
             (if (result i32) (i32.load8_u (i32.const 272))
               (then {get_failed})
               (else
                 (call $consume (i32.load (i32.const 280)) (i32.const 512))
                 (call $stream (i32.load (i32.const 516)) (i32.const 528))
                 (call $put (i32.const 34))
                 (local.set $n (i32.load (i32.const 532)))
                 (block $done (loop $next
                   (call $read (local.get $n) (i64.const 65536) (i32.const 544))
                   (br_if $done (i32.load8_u (i32.const 544)))
                   (call $cipher (i32.load (i32.const 548)) (i32.load (i32.const 552)))
                   (br $next)))
                 (call $put (i32.const 34))
                 (i32.store8 (i32.const 8) (i32.const 0))
                 (i32.store (i32.const 12) (local.get $from))
                 (i32.store (i32.const 16) (i32.sub (global.get $cursor) (local.get $from)))
                 (i32.const 8)))))",
        p0 = path.0,
        p1 = path.1,
        a0 = authority.0,
        a1 = authority.1,
        handle_failed = failed(264),
        get_failed = failed(280),
    );
    let interfaces =
        ["wasi:io/poll@0.2.0", "wasi:io/streams@0.2.0", "wasi:http/types@0.2.0", "wasi:http/outgoing-handler@0.2.0"];
    let imports = Imports { interfaces: interfaces.map(str::to_owned).to_vec(), packages: &[IO, HTTP] };
    (imports, import.to_owned(), code)
}

/// Fails with `wasi <letter>`, where the letter counts the cases of `error-code` from `A`.
fn failed(case: usize) -> String {
    let message: String = "wasi ".bytes().map(|byte| format!("(call $put (i32.const {byte}))\n")).collect();
    format!(
        "{message}
         (call $put (i32.add (i32.const 65) (i32.load8_u (i32.const {case}))))
         (i32.store8 (i32.const 8) (i32.const 1))
         (i32.store8 (i32.const 12) (i32.const 5))
         (i32.store (i32.const 16) (local.get $from))
         (i32.store (i32.const 20) (i32.sub (global.get $cursor) (local.get $from)))
         (i32.const 8)"
    )
}
