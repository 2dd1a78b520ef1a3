//! Which components stay mapped.

use super::super::warm::Warm;
use super::*;

#[tokio::test]
async fn the_component_that_was_not_used_for_the_longest_makes_room() {
    let lab = Lab::new(small());
    let warm = Warm::of(2);
    let prepared = |n: u8| {
        let component = lift(&module("", &format!("(global i32 (i32.const {n}))"), FINE));
        let place = ("acme".parse::<TenantId>().unwrap(), Digest::of(&component));
        (place, lab.compile(&manifest(""), &component).unwrap_or_else(|error| panic!("{error}")))
    };
    let [(first, one), (second, two), (third, three)] = [1, 2, 3].map(prepared);
    warm.keep(first.clone(), one);
    let running = warm.keep(second.clone(), two);
    assert!(warm.get(&first).is_some() && warm.get(&third).is_none());
    warm.keep(third.clone(), three);
    assert_eq!(warm.len(), 2);
    assert!(warm.get(&first).is_some() && warm.get(&third).is_some());
    assert!(warm.get(&second).is_none(), "it was not used for the longest");
    // A call that holds it goes on in it.
    lab.run(&running).await.output.unwrap_or_else(|failure| panic!("{failure}"));

    // Who comes second with the same component gets the one that is there.
    let (_, again) = prepared(1);
    let (kept, before) = (warm.keep(first.clone(), again), warm.get(&first).expect("it is kept"));
    assert!(Arc::ptr_eq(&kept, &before));
    // Another tenant has its own.
    assert!(warm.get(&("other".parse().unwrap(), first.1)).is_none());
}

#[tokio::test]
async fn the_tenant_that_has_the_most_makes_room_whoever_comes() {
    let lab = Lab::new(small());
    let warm = Warm::of(3);
    let component = |n: u8| lift(&module("", &format!("(global i32 (i32.const {n}))"), FINE));
    let keep = |tenant: &str, n: u8| {
        let component = component(n);
        let place = (tenant.parse::<TenantId>().unwrap(), Digest::of(&component));
        warm.keep(place.clone(), lab.compile(&manifest(""), &component).unwrap_or_else(|error| panic!("{error}")));
        place
    };
    let first = keep("acme", 1);
    // However many a tenant calls, and however lately, another's stay.
    let others: Vec<_> = (2..9).map(|n| keep("rival", n)).collect();
    assert_eq!(warm.len(), 3);
    assert!(warm.get(&first).is_some());
    let kept: Vec<_> = others.iter().map(|place| warm.get(place).is_some()).collect();
    assert_eq!(kept, [false, false, false, false, false, true, true]);
}
