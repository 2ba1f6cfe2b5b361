//! Compiles the .proto files with protox, so that no `protoc` needs to be installed; the same descriptors serve
//! gRPC reflection.

use prost::Message;
use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["jobs", "executions", "executors", "secrets", "access", "system"];
    let files = names.map(|name| format!("octavius/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".octavius.v1.LogChunk.data")
        .bytes(".octavius.v1.AppendChunk.data")
        .bytes(".octavius.v1.StoreEntry.value")
        .btree_map(".")
        // Their `Debug` is in `secret.rs`: it shows no value that may be a secret, and no token.
        .skip_debug([
            "octavius.v1.SetSecretRequest",
            "octavius.v1.Lease",
            "octavius.v1.ExecuteRequest",
            "octavius.v1.RerunRequest",
            "octavius.v1.CreateTokenResponse",
            "octavius.v1.InviteExecutorsResponse",
            "octavius.v1.RegisterResponse",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
