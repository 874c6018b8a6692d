# Shared by the scripts beside it; sourced, never run. Small helpers and the one place that knows
# how to install what a fresh Debian or Ubuntu lacks. Nothing here touches the network when nothing
# is missing.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Tools we install for ourselves live outside the clone, so that a new clone finds them again.
TOOLS_DIR="${CLAWMESH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/clawmesh-tools}"
# rustup's default place: a shell opened before the installation does not have it on its PATH yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

step() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Prints what went by on the clock since the second given, as "took 12 s".
took() { printf '    took %s s\n' "$(( SECONDS - $1 ))" >&2; }

# apt_install PACKAGE...: as root, or through sudo.
apt_install() {
  have apt-get || fail "this machine has no apt-get; install these by hand and run again: $*"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || fail "missing packages; as root run: apt-get install $*"
    as_root=(sudo)
  fi
  step "installing with apt-get: $*"
  "${as_root[@]}" apt-get update -qq || fail "apt-get update failed; is the network there?"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >&2 \
    || fail "apt-get could not install: $*"
}

# The C compiler builds the bundled SQLite; git and curl are what the way to Rust needs.
ensure_packages() {
  local missing=()
  have cc || missing+=(gcc libc6-dev)
  have pkg-config || missing+=(pkg-config)
  have git || missing+=(git)
  have curl || missing+=(curl ca-certificates)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

# The system's webview, tray and session bus, with what is needed to build against them.
ensure_desktop_packages() {
  local missing=()
  have pkg-config || missing+=(pkg-config)
  pkg_present webkit2gtk-4.1 || missing+=(libwebkit2gtk-4.1-dev)
  pkg_present ayatana-appindicator3-0.1 || missing+=(libayatana-appindicator3-dev)
  pkg_present librsvg-2.0 || missing+=(librsvg2-dev)
  pkg_present dbus-1 || missing+=(libdbus-1-dev)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}
pkg_present() { have pkg-config && pkg-config --exists "$1"; }

# Whether a window can be opened here.
has_display() { [ -n "${DISPLAY:-}" ] || [ -n "${WAYLAND_DISPLAY:-}" ]; }

# version_at_least HAVE WANT: dotted numbers, compared part by part.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

ensure_rust() {
  local wanted found
  wanted="$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")"
  if ! have rustc || ! have cargo; then
    fail "Rust is not installed; ClawMesh needs Rust $wanted or newer.
  Get it with the official installer, then run the same make command again:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  fi
  # `cd` first: a rust-toolchain file or an override counts for this directory.
  found="$(cd "$ROOT" && rustc --version | awk '{print $2}')" || fail "rustc does not run; see above"
  found="${found%%-*}"
  if ! version_at_least "$found" "$wanted"; then
    if have rustup; then
      fail "Rust $found is too old; ClawMesh needs Rust $wanted or newer. Run: rustup update stable && rustup default stable"
    fi
    fail "Rust $found is too old; ClawMesh needs Rust $wanted or newer.
  Debian's own packages are often older than that. Get a current one with the official installer,
  open a new shell, then run the same make command again:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  fi
}

# rustfmt and clippy come with the usual toolchain, yet not with its minimal profile.
ensure_rust_components() {
  local component
  for component in rustfmt clippy; do
    (cd "$ROOT" && cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1) && continue
    have rustup || fail "cargo ${component/rustfmt/fmt} is missing; install $component for your toolchain"
    step "installing $component with rustup"
    (cd "$ROOT" && rustup component add "$component" >&2) || fail "rustup could not add $component"
  done
}
