//! What one skill leaves in a slot of the pool, another finds nothing of: memory, tables, globals, locals.

use super::*;

const LOCALS: usize = 64;
const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";

/// Writes wherever a component can, as much as it can, and then does `end`.
fn polluter(end: &str) -> String {
    let locals = "i64 ".repeat(LOCALS);
    let spilled: String = (0..LOCALS).map(|n| format!("(local.set {n} (i64.const 0x5ec2e75ec2e75ec2))\n")).collect();
    let sum: String =
        (0..LOCALS).map(|n| format!("(global.set $g (i64.or (global.get $g) (local.get {n})))\n")).collect();
    let extra = format!(
        "(table $t 16 64 funcref)
         (global $g (mut i64) (i64.const 0))
         (elem declare func $deep)
         (func $deep (local {locals}) {spilled} {sum})"
    );
    let body = format!(
        "(local $at i32)
         (call $deep)
         (global.set $g (i64.const 0x5ec2e75ec2e75ec2))
         (if (i32.eq (memory.grow (i32.const 8)) (i32.const -1)) (then (unreachable)))
         (memory.fill (i32.const 4096) (i32.const 0x5e) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4096)))
         (if (i32.eq (table.grow $t (ref.func $deep) (i32.const 48)) (i32.const -1)) (then (unreachable)))
         (table.fill $t (i32.const 0) (ref.func $deep) (i32.const 64))
         {end}"
    );
    module("", &extra, &body)
}

/// Traps where it finds anything that it has not put there itself, also in what it is given when it asks for more.
fn snoop() -> String {
    let locals = "i64 ".repeat(LOCALS);
    let peeked: String =
        (0..LOCALS).map(|n| format!("(global.set $g (i64.or (global.get $g) (local.get {n})))\n")).collect();
    let extra = format!(
        "(table $t 16 64 funcref)
         (global $g (mut i64) (i64.const 0))
         (func $peek (local {locals}) {peeked})
         (func $nothing_in_table (param $at i32)
            (loop $look
                (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then (unreachable)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $look (i32.lt_u (local.get $at) (table.size $t)))))
         (func $nothing_in_memory (param $at i32)
            (loop $look
                (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $look (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))"
    );
    // What the host wrote for this call, its arguments, ends well before 8192.
    let body = "(if (i64.ne (global.get $g) (i64.const 0)) (then (unreachable)))
         (call $peek)
         (if (i64.ne (global.get $g) (i64.const 0)) (then (unreachable)))
         (if (i32.ne (table.size $t) (i32.const 16)) (then (unreachable)))
         (if (i32.ne (memory.size) (i32.const 1)) (then (unreachable)))
         (call $nothing_in_table (i32.const 0))
         (call $nothing_in_memory (i32.const 8192))
         (if (i32.eq (table.grow $t (ref.null func) (i32.const 48)) (i32.const -1)) (then (unreachable)))
         (if (i32.eq (memory.grow (i32.const 8)) (i32.const -1)) (then (unreachable)))
         (call $nothing_in_table (i32.const 16))
         (call $nothing_in_memory (i32.const 8192))
         (i32.const 1024)";
    module("", &extra, body)
}

#[tokio::test]
async fn attack_25_another_skill_finds_nothing_however_the_one_before_it_ended() {
    // One slot, so that each call is in the one that the call before it left.
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let limits = Limits { fuel: 50_000_000, ..small() };
    let lab = Lab { runtime: WasmRuntime::start(&pool, limits.clone()).unwrap(), limits };
    let snoop = lab.prepare(&snoop());
    for (end, code) in [("well", FINE), ("by a trap", "(unreachable)"), ("without fuel", ENDLESS)] {
        let polluter = lab.prepare(&polluter(code));
        for round in 0..5 {
            assert_eq!(lab.run(&polluter).await.output.is_ok(), end == "well");
            let report = lab.run(&snoop).await;
            assert!(report.output.is_ok(), "after one that ended {end}, round {round}: {:?}", report.output);
        }
    }
    let endless = Lab { limits: Limits { fuel: u64::MAX / 2, ..lab.limits.clone() }, ..lab };
    let polluter = endless.prepare(&polluter(ENDLESS));
    for round in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(50), endless.run(&polluter)).await;
        assert!(dropped.is_err(), "an endless loop came to an end");
        let report = endless.run(&snoop).await;
        assert!(report.output.is_ok(), "after one that was dropped, round {round}: {:?}", report.output);
    }
}
