//! What the benches stand on: the host's own parts opened in this process, and the raw counterparts that they are
//! compared with. Nothing here is part of the product.

pub mod approvals;
pub mod brokered;
pub mod host;
pub mod in_process;
pub mod limits;
pub mod load;
pub mod native;
pub mod process;
pub mod raw;
pub mod raw_server;
pub mod skills;
