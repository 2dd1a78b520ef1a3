//! Guests that call the host for more than HTTP: state and log. Layouts are those of the canonical ABI.

use super::guest::{Data, Imports, succeed};

/// What a module imports, the import itself, and the body of `call-tool`.
type Guest = (Imports, &'static str, String);

fn of(interface: &str) -> Imports {
    Imports { interfaces: vec![format!("sophon:skill/{interface}@1.0.0")], packages: &[] }
}

/// Logs `line`.
pub(super) fn log(line: &str, data: &mut Data) -> Guest {
    let (line, done) = (data.put(line.as_bytes()), data.put(br#""done""#));
    let import = r#"(import "sophon:skill/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
    let body = format!("(call $log (i32.const 2) (i32.const {}) (i32.const {})) {}", line.0, line.1, succeed(done));
    (of("log"), import, body)
}

const STATE: &str = r#"
  (import "sophon:skill/state@1.0.0" "read" (func $read (param i32 i32 i32)))
  (import "sophon:skill/state@1.0.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#;

/// Returns what is remembered under `key`, else remembers `value` and returns `"nothing"`.
pub(super) fn remember(key: &str, value: &str, data: &mut Data) -> Guest {
    let (key, nothing) = (data.put(key.as_bytes()), data.put(br#""nothing""#));
    let value = data.put(serde_json::Value::from(value).to_string().as_bytes());
    // The result is at 256: its case at +0; the option's at +8, its list at +12.
    let body = format!(
        "(call $read (i32.const {k0}) (i32.const {k1}) (i32.const 256))
         (if (i32.load8_u (i32.const 256)) (then unreachable))
         (if (i32.load8_u (i32.const 264))
           (then
             (i32.store8 (i32.const 8) (i32.const 0))
             (i32.store (i32.const 12) (i32.load (i32.const 268)))
             (i32.store (i32.const 16) (i32.load (i32.const 272)))
             (return (i32.const 8))))
         (call $write (i32.const {k0}) (i32.const {k1}) (i32.const {v0}) (i32.const {v1}) (i32.const 256))
         (if (i32.load8_u (i32.const 256)) (then unreachable))
         {done}",
        k0 = key.0,
        k1 = key.1,
        v0 = value.0,
        v1 = value.1,
        done = succeed(nothing),
    );
    (of("state"), STATE, body)
}

/// Writes again and again.
pub(super) fn flood_state(data: &mut Data) -> Guest {
    let (key, value) = (data.put(b"flood"), data.put(&[b'x'; 1000]));
    let body = format!(
        "(loop $again
           (call $write (i32.const {}) (i32.const {}) (i32.const {}) (i32.const {}) (i32.const 256))
           (br $again))
         unreachable",
        key.0, key.1, value.0, value.1
    );
    (of("state"), STATE, body)
}

/// Asks for the scoped token of `service`, and puts `Bearer ` and the token into the value of the first of the header
/// fields at `headers`. Fails with the number of the error where there is none.
pub(super) fn scoped_token(service: &str, headers: usize, data: &mut Data) -> (String, &'static str) {
    let (service, bearer) = (data.put(service.as_bytes()), data.put(b"Bearer "));
    let import = r#"(import "sophon:skill/credentials@1.0.0" "scoped-token" (func $token (param i32 i32 i32)))"#;
    // The result is at 1024: its case at +0; a token at +4; an error's case at +4.
    let body = format!(
        "(call $token (i32.const {s0}) (i32.const {s1}) (i32.const 1024))
         (if (i32.load8_u (i32.const 1024))
           (then
             (local.set $from (call $open (i32.const 65536)))
             (call $put (i32.add (i32.const 48) (i32.load8_u (i32.const 1028))))
             (call $put (i32.const 32))
             (call $plain (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))
             (i32.store8 (i32.const 8) (i32.const 1))
             (i32.store8 (i32.const 12) (i32.const 3))
             (i32.store (i32.const 16) (local.get $from))
             (i32.store (i32.const 20) (i32.sub (global.get $cursor) (local.get $from)))
             (return (i32.const 8))))
         (local.set $from (call $open (i32.load (i32.const 1032))))
         (call $plain (i32.const {b0}) (i32.const {b1}))
         (call $plain (i32.load (i32.const 1028)) (i32.load (i32.const 1032)))
         (i32.store (i32.const {value}) (local.get $from))
         (i32.store (i32.const {length}) (i32.sub (global.get $cursor) (local.get $from)))
        ",
        s0 = service.0,
        s1 = service.1,
        b0 = bearer.0,
        b1 = bearer.1,
        value = headers + 8,
        length = headers + 12,
    );
    (body, import)
}
