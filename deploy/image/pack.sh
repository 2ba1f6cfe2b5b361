# shellcheck shell=bash
# Images without Docker. Source it, do not run it.

# pack_image ROOT REFERENCE CONFIG OUTPUT: the folder ROOT as an image of one layer, in the
# format of `docker save`. Everything in it belongs to root, and the same content always
# makes the same bytes. CONFIG is the image's configuration (Env, Entrypoint, Cmd, User, …) as JSON.
pack_image() {
  local root=$1 reference=$2 config=$3 output=$4 scratch layer name
  local same=(--sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=gnu)
  scratch=$(mktemp -d "$output.XXXXXX")
  tar "${same[@]}" -C "$root" -cf "$scratch/layer.tar" .
  layer=$(sha256sum <"$scratch/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z"}]}' \
    "$(dpkg --print-architecture)" "$config" "$layer" >"$scratch/config.json"
  name=$(sha256sum <"$scratch/config.json" | cut -d' ' -f1).json
  mv "$scratch/config.json" "$scratch/$name"
  printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" "$reference" >"$scratch/manifest.json"
  tar "${same[@]}" -C "$scratch" -cf "$scratch/image.tar" "$name" layer.tar manifest.json
  mv "$scratch/image.tar" "$output"
  rm -rf "$scratch"
}
