//! What the process gives up once its sockets are bound.

use std::path::PathBuf;

/// Rights that the process may do without; usually it keeps those that it was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The user that it becomes, by name or number.
    pub user: Option<String>,
    pub new_privileges: NewPrivileges,
    pub core_dumps: CoreDumps,
    /// Folders that it may write to, beside those that other settings name; `None`: wherever its
    /// user may.
    pub writable: Option<Vec<PathBuf>>,
}

/// Whether programs that are run may have more rights than this process, as setuid ones do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewPrivileges {
    #[default]
    Allowed,
    Refused,
}

/// What becomes of the memory of a process that crashes; it holds keys and viewers' data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoreDumps {
    /// As the system has it.
    #[default]
    System,
    /// It is not written, and no other process of the user may read it.
    Off,
}
