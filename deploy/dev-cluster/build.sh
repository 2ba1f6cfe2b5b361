#!/bin/bash
# build.sh: Kubernetes 1.20.2 from Debian's source package, plus three small
# images, into the cache folder. Does nothing when the cache is complete.
#
# Needs Debian's packages and 3 GB of disk; takes about 5 minutes on 2 cores.
# Killed half way it goes on where it was. The Go compiler is unpacked into
# the work folder, so the machine's own Go (if any) is neither used nor changed.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=../image/pack.sh
source "$HERE/../image/pack.sh"

umask 022
RECIPE=2                                                # raise it when this file or src/ changes what is built
SOURCE_VERSION="1.20.5+really1.20.2-1.1+deb12u1"        # in Debian 12; later Debians carry only kubectl
GO=1.19                                                 # Debian 12's; newer ones were not tried
WORK=$CACHE/work-$RECIPE                               # what is unfinished
OUT=$WORK/out

complete() { # the manifest names the recipe and everything in it is as it was written
  [ "$(head -n1 "$CACHE/SHA256SUMS" 2>/dev/null)" = "# recipe $RECIPE" ] &&
    (cd "$CACHE" && sha256sum --check --status SHA256SUMS)
}

fetch_source() { # into $WORK/src, $WORK/go
  [ -e "$WORK/unpacked" ] && return
  local apt=$WORK/apt key=/usr/share/keyrings/debian-archive-keyring.gpg mirror
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$WORK/debs"
  # The mirror that this machine's apt uses, but only Debian 12 from it, in
  # lists of our own: the machine's apt configuration is left alone.
  mirror=${OCTAVIUS_DEBIAN_MIRROR:-$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n1 || true)}
  [ -n "$mirror" ] || { echo "no Debian mirror in apt's configuration: add one to /etc/apt/sources.list" >&2; exit 1; }
  printf '%s [signed-by=%s] %s bookworm main\n' deb "$key" "$mirror" deb-src "$key" "$mirror" >"$apt/sources.list"
  printf '%s "%s";\n' Dir::Etc::sourcelist "$apt/sources.list" Dir::Etc::sourceparts /dev/null \
    Dir::State::Lists "$apt/lists" Dir::Cache "$apt/cache" APT::Sandbox::User root >"$apt/conf"
  apt-get -qq -c "$apt/conf" update
  (cd "$WORK/debs"
   apt-get -qq -c "$apt/conf" download "golang-$GO-go" "golang-$GO-src"
   apt-get -qq -c "$apt/conf" source --download-only "kubernetes=$SOURCE_VERSION")
  say "downloaded after ${SECONDS}s"
  rm -rf "$WORK/go" "$WORK/gopath"; mkdir -p "$SRC"
  local deb p
  for deb in "$WORK"/debs/*.deb; do dpkg-deb -x "$deb" "$WORK/go"; done
  tar -xzf "$WORK"/debs/kubernetes_*.orig.tar.gz -C "$SRC" --strip-components=1
  tar -xJf "$WORK"/debs/kubernetes_*.debian.tar.xz -C "$SRC"
  while read -r p; do patch -d "$SRC" -sp1 <"$SRC/debian/patches/$p"; done <"$SRC/debian/patches/series"
  patch -d "$SRC" -sp1 <"$HERE/src/reflect2.patch"
  touch "$WORK/unpacked"
}

go_build() { # go_build OUTPUT PACKAGE-OR-FILE: skipped when there from an earlier, interrupted run
  [ -e "$1" ] && return
  go build -trimpath -tags "providerless dockerless" -ldflags "-s -w $STAMP" -o "$1.new" "$2"
  mv "$1.new" "$1"
  say "built $(basename "$1") after ${SECONDS}s"
}

# Debian's tarball lacks one generated file, without which kube-apiserver does not compile.
generate_openapi() {
  [ -e "$WORK/openapi" ] && return
  go_build "$WORK/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  local inputs
  inputs=$(cd "$SRC" && find -L cmd pkg plugin vendor/k8s.io -name '*.go' ! -name '*_test.go' \
      ! -path 'vendor/k8s.io/code-generator/*' ! -path 'vendor/k8s.io/sample-apiserver/*' \
      ! -path '*/testdata/*' ! -path '*/_examples/*' -exec grep -l '^// *+k8s:openapi-gen=' {} + |
    sed 's,/[^/]*$,,' | LC_ALL=C sort -u | sed 's,^,k8s.io/kubernetes/,' | paste -sd,)
  (cd "$SRC" && "$WORK/openapi-gen" --logtostderr -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r /dev/null)
  touch "$WORK/openapi"
}

# image NAME REFERENCE ENTRYPOINT COMMAND: of the folder $WORK/root-NAME.
image() {
  local config
  config=$(printf '{"Env":["PATH=/bin"],"Entrypoint":%s,"Cmd":%s,"WorkingDir":"/"}' "$3" "$4")
  pack_image "$WORK/root-$1" "$2" "$config" "$OUT/images/$1.tar"
}

build_images() {
  local root applet
  rm -rf "$WORK"/root-*
  for applet in pause hello; do install -D "$OUT/bin/$applet" "$WORK/root-$applet/$applet"; done
  root=$WORK/root-busybox
  mkdir -p "$root"/{bin,etc,dev,proc,sys,root,home,var,tmp}; chmod 1777 "$root/tmp"; chmod 700 "$root/root"
  install "$(command -v busybox)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  image pause localhost/pause:dev '["/pause"]' null
  image busybox docker.io/library/busybox:dev null '["sh"]'
  image hello docker.io/library/hello:dev '["/hello"]' null
}

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9
if complete; then say "Kubernetes $KUBE_VERSION is complete in $CACHE"; exit 0; fi

need "${BUILD_PACKAGES[@]}"
SRC=$WORK/gopath/src/k8s.io/kubernetes
fetch_source

# GOPATH mode: in module mode this source does not pass its own vendor check.
export GOROOT=$WORK/go/usr/lib/go-$GO GOPATH=$WORK/gopath GOCACHE=$WORK/gocache GOTMPDIR=$WORK/tmp
export GO111MODULE=off GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false PATH=$WORK/go/usr/lib/go-$GO/bin:$PATH
mkdir -p "$GOTMPDIR" "$OUT/bin" "$OUT/images"
STAMP=
for p in component-base/version client-go/pkg/version; do
  for v in gitVersion=v$KUBE_VERSION gitMajor=1 gitMinor=20 gitCommit=debian gitTreeState=clean buildDate=2021-01-13T00:00:00Z; do
    STAMP+=" -X k8s.io/kubernetes/vendor/k8s.io/$p.$v"
  done
done

generate_openapi
for b in "${BINARIES[@]}"; do go_build "$OUT/bin/$b" "k8s.io/kubernetes/cmd/$b"; done
for b in "${TOOLS[@]}"; do go_build "$OUT/bin/$b" "$HERE/src/$b.go"; done
build_images

(cd "$OUT" && { echo "# recipe $RECIPE"; sha256sum bin/* images/*; } >SHA256SUMS)
rm -rf "${CACHE:?}"/{SHA256SUMS,bin,images}
mv "$OUT/bin" "$OUT/images" "$CACHE"
mv "$OUT/SHA256SUMS" "$CACHE"                           # last: from here on it is complete
rm -rf "$CACHE"/work*
say "Kubernetes $KUBE_VERSION is in $CACHE ($(du -sh "$CACHE" | cut -f1)), after ${SECONDS}s"
