//! End-to-end tests over a real gateway process: every test speaks to `target/debug/sophon` and to a TLS server of its
//! own, over loopback, as a stranger would.
//!
//! A test whose name starts with `attack_NN` answers that line of the list of attacks; `docs/threat-model.md` names the
//! tests that hold each claim. Run them with `scripts/test`, which builds the host and the example skills first.

mod harness;

mod abuse;
mod approvals;
mod audit;
mod authentication;
mod authoring;
mod bad_input;
mod bad_state;
mod calls;
mod cli;
mod crash;
mod csharp;
mod egress;
mod events;
mod faults;
mod floors;
mod guests;
mod injection;
mod install;
mod isolation;
mod load;
mod main_job;
mod native;
mod oauth;
mod oauth_lies;
mod plans;
mod public_skills;
mod requirements;
mod schedules;
mod skill_contract;
mod streams;
