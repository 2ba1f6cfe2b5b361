//! The suite and the faults on a real etcd.
