//! How much of a file we take. dbt has no such limits; a real profiles.yml is far below each of them.
#![forbid(unsafe_code)]

/// Bytes of a file. Ten thousand outputs are 2.7 MB.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Nodes of a file, and pairs that its merges (`<<`) copy.
pub(super) const MAX_NODES: usize = 1_000_000;

/// Steps that merging may take: a removal costs the length of its map.
pub(super) const MAX_MERGE_STEPS: usize = 50_000_000;

/// Levels of nesting, aliases followed. dbt 1.12 renders 480 and refuses 700.
pub(super) const MAX_DEPTH: usize = 256;

/// Nodes of an emitted tree, aliases written out.
pub(super) const MAX_EMITTED_NODES: usize = 1_000_000;

/// Bytes of an emitted tree.
pub(super) const MAX_EMITTED_BYTES: usize = 64 << 20;
