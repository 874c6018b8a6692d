# Shared by the scripts beside it; sourced, never run. Small helpers and the one place that knows
# how to install what a fresh Debian or Ubuntu lacks. Nothing here touches the network when nothing
# is missing.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# rustup's default place: a shell opened before the installation does not have it on its PATH yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

step() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# existing_part PATH: the deepest folder of the path that is there.
existing_part() {
  local at="$1"
  while [ ! -e "$at" ]; do at="$(dirname "$at")"; done
  printf '%s\n' "$at"
}

# Tools we install for ourselves live outside the clone, so that a new clone finds them again; where the home
# cannot be written to, below the clone's target folder, and what cargo fetches with them.
TOOLS_DIR="${CLAWMESH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/clawmesh-tools}"
[ -d "$TOOLS_DIR" ] || [ -w "$(existing_part "$TOOLS_DIR")" ] || TOOLS_DIR="$ROOT/target/tools"
if [ -z "${CARGO_HOME:-}" ] && [ ! -d "$HOME/.cargo/registry" ] && [ ! -w "$(existing_part "$HOME/.cargo")" ]; then
  export CARGO_HOME="$ROOT/target/cargo-home"
fi

# Says, before the first build of the node, what it fetches and takes; fails where the disk has no room for it.
first_build_said() {
  [ ! -x "${CARGO_TARGET_DIR:-$ROOT/target}/debug/clawmesh-node" ] || return 0
  step "the first build fetches about 70 MB (300 MB more where Rust is missing, 200 MB where Node.js does not fit), takes 1.5 GB of disk and, on two quiet cores, about 4 minutes"
  local free
  free="$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1024) }')"
  [ "${free:-2000}" -ge 2000 ] || fail "$ROOT has $free MB left; make room for 2 GB"
}

# Prints what went by on the clock since the second given, as "took 12 s".
took() { printf '    took %s s\n' "$(( SECONDS - $1 ))" >&2; }

# Whether a command can be run as root: already so, or sudo asks nothing or a person who can type.
can_be_root() { [ "$(id -u)" -eq 0 ] || { have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# apt_install PACKAGE...: installs what is missing. A package source that cannot be read is a warning:
# what is needed may come from the others.
apt_install() {
  have apt-get || fail "this machine has no apt-get; install these by hand and run again: $*"
  local log wait=(-o DPkg::Lock::Timeout=600)
  can_be_root || fail "packages are missing and this user cannot install them; as root run, then the same make command again:
    apt-get update && apt-get install -y --no-install-recommends $*"
  log="$(mktemp)"
  step "installing with apt-get: $* (waits up to 10 minutes if another installation runs)"
  if ! as_root apt-get "${wait[@]}" update -qq >"$log" 2>&1; then
    step "warning: some package sources could not be read; trying with the others:"
    grep -E '^[EW]:' "$log" | head -n 5 >&2 || tail -n 5 "$log" >&2
  fi
  if ! as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get "${wait[@]}" install -y -qq --no-install-recommends "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    local why="apt-get could not install: $*"
    if grep -qE 'Temporary failure resolving|Could not (resolve|connect)|Network is unreachable' "$log"; then
      why="$why (the package servers cannot be reached: is there a network?)"
    fi
    rm -f "$log"
    fail "$why"
  fi
  rm -f "$log"
}

# apt_has PACKAGE: whether the distribution offers it. (A `grep -q` that ends early would end apt-cache by
# SIGPIPE, which pipefail takes for a no.)
apt_has() { have apt-cache && apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null; }

# whether a C program that includes the C library's headers compiles: a compiler alone is not enough
has_cc() { have cc && printf '#include <stdio.h>\nint main(void){return 0;}\n' | cc -x c -fsyntax-only - 2>/dev/null; }

# The C compiler builds the bundled SQLite; git and curl are what the way to Rust needs. One list, so that
# whoever has to ask for them asks once; of Node.js and Rust what the distribution has, versions are looked at later.
ensure_packages() {
  local missing=()
  has_cc || missing+=(gcc libc6-dev)
  have pkg-config || missing+=(pkg-config)
  have git || missing+=(git)
  have curl || missing+=(curl ca-certificates)
  have npm || missing+=(nodejs npm)
  if ! have rustup && ! rust_fits && apt_has rustup; then missing+=(rustup); fi
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

# The broker that the tests of MQTT devices speak to. Without it they are left out, and say so.
ensure_mosquitto() {
  [ ! -x /usr/sbin/mosquitto ] && [ ! -x /usr/local/sbin/mosquitto ] || return 0
  if ! { can_be_root && apt_has mosquitto; }; then return 0; fi
  # Without its service: the tests start brokers of their own.
  (apt_install mosquitto) || step "warning: without mosquitto the tests of MQTT devices are left out"
  if have systemctl; then as_root systemctl disable --now mosquitto >/dev/null 2>&1 || true; fi
}

# The terminal in which `tui` is tested. Without it those tests are left out, and say so.
ensure_tmux() {
  have tmux && return 0
  if ! { can_be_root && apt_has tmux; }; then return 0; fi
  (apt_install tmux) || step "warning: without tmux the tests of the terminal surface are left out"
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

# rust_found: the version of the Rust toolchain that counts in this folder; empty without one.
rust_found() {
  have rustc && have cargo || return 0
  # `cd` first: a rust-toolchain file or an override counts for this directory.
  # A rustup without a toolchain yet has a rustc that only fails.
  (cd "$ROOT" && rustc --version 2>/dev/null || true) | awk '{sub(/-.*/, "", $2); print $2}'
}

rust_wanted() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }
rust_fits() { local found; found="$(rust_found)"; [ -n "$found" ] && version_at_least "$found" "$(rust_wanted)"; }

# Rust of at least the version in Cargo.toml: what is there, else rustup from the distribution, else,
# after a yes or with CLAWMESH_YES=1, the official installer.
ensure_rust() {
  local wanted found
  wanted="$(rust_wanted)"
  found="$(rust_found)"
  if rust_fits; then return; fi
  step "Rust ${found:-is not installed}${found:+ is too old}; ClawMesh needs Rust $wanted or newer"
  if ! have rustup && apt_has rustup; then
    apt_install rustup
  fi
  if have rustup; then
    step "getting the current stable Rust with rustup (about 300 MB)"
    rustup toolchain install stable --profile minimal -c rustfmt -c clippy >&2 \
      && (cd "$ROOT" && rustup default stable >&2) \
      || fail "rustup could not get Rust $wanted or newer; is there a network? Then run the same make command again"
  else
    install_rust_with_installer "$wanted"
  fi
  hash -r
  found="$(rust_found)"
  version_at_least "${found:-0}" "$wanted" \
    || fail "Rust ${found:-} is still too old or not on the PATH; open a new shell and run the same make command again"
}

install_rust_with_installer() {
  local command="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy"
  if [ -z "${CLAWMESH_YES:-}" ]; then
    [ -t 0 ] || fail "Rust $1 or newer is needed. Run this, or the same make command with CLAWMESH_YES=1:
    $command"
    printf 'Install Rust into your home with its official installer? (about 300 MB)\n    %s\n[y/N] ' "$command" >&2
    local answer
    read -r answer
    case "$answer" in [yY]*) ;; *) fail "Rust $1 or newer is needed; install it and run the same make command again" ;; esac
  fi
  bash -o pipefail -c "$command" >&2 || fail "the Rust installer failed; see above"
}

# node_fits: whether the node on the PATH is one that the console's build runs on (package.json, engines).
node_fits() {
  have node && have npm || return 1
  local version
  version="$(node --version 2>/dev/null)"
  version="${version#v}"
  case "${version%%.*}" in
    20) version_at_least "$version" 20.19.0 ;;
    21) false ;;
    *) version_at_least "$version" 22.12.0 ;;
  esac
}

# Node.js for the console's build: what is there if it fits, else one of our own beside the other tools.
ensure_node() {
  node_fits && return
  local own="$TOOLS_DIR/node-22" authorities=/etc/ssl/certs/ca-certificates.crt
  # A Node.js that is not the distribution's knows only its own list of certificate authorities.
  [ ! -r "$authorities" ] || export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$authorities}"
  if [ -x "$own/node_modules/.bin/node" ]; then
    export PATH="$own/node_modules/.bin:$PATH"
    node_fits && return
  fi
  have npm || apt_install nodejs npm
  node_fits && return
  step "Node.js $(node --version 2>/dev/null || echo 'is missing') does not fit; getting Node.js 22 into $own (about 200 MB)"
  mkdir -p "$own"
  npm_quiet install --prefix "$own" --no-audit --no-fund node@22
  export PATH="$own/node_modules/.bin:$PATH"
  hash -r
  node_fits || fail "Node.js 22 was installed into $own but does not run: $(node --version 2>&1 | head -n 1)"
}

# npm_quiet ARGUMENT...: npm without its chatter; when it fails, what it said and what to do.
npm_quiet() {
  local log cache
  log="$(mktemp)"
  # A home that cannot be written to is no reason to fail: the cache can lie elsewhere.
  cache="$(npm config get cache 2>/dev/null || true)"
  if [ -z "${npm_config_cache:-}" ] && ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
    export npm_config_cache="${TMPDIR:-/tmp}/clawmesh-npm-cache-$(id -u)"
  fi
  if npm --fetch-retries=1 --fetch-timeout=30000 "$@" >"$log" 2>&1; then rm -f "$log"; return; fi
  grep -vE 'A complete log of this run|npm-debug' "$log" | tail -n 12 >&2
  local why="npm failed: npm $*"
  if grep -qE 'ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ENETUNREACH|network' "$log"; then
    why="$why
  The package registry cannot be reached; connect this machine to a network (once) and run the same make command again"
  elif grep -qE 'EACCES|EROFS|EPERM' "$log"; then
    why="$why
  A folder cannot be written to; see above which, and give it to this user"
  elif grep -qE 'ENOSPC' "$log"; then
    why="$why
  The disk is full"
  fi
  rm -f "$log"
  fail "$why"
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
