#!/bin/sh
# Installs clawmesh-node, the headless node of ClawMesh, from the files of a release:
#
#   sh install.sh [--from SOURCE] [--version X.Y.Z] [--prefix DIR] [--service] [--join LINK] [--dry-run]
#   sh install.sh --uninstall [--prefix DIR] [--dry-run]
#
#   --from SOURCE   where the release is: an https:// address, or a folder (a USB stick, for a machine without a network)
#   --version       this version; without it the one that the source offers
#   --prefix DIR    the program becomes DIR/bin/clawmesh-node [/usr/local as root, else ~/.local]
#   --service       starts it as a service of the system, also after a restart; as root, with systemd
#   --join LINK     pairs it with the node that printed the link (`clawmesh-node pair --accept`); brings --service. Nothing is
#                   asked here; whoever printed the link sees the same pictures, and says yes there
#   --downgrade     an older version than the one that is there
#   --key KEY       the public key to check by: a minisign key (RW…) or a file with one
#   --dry-run       says what would be done, having checked the signature, and changes nothing
#
# Nothing is installed whose signature is not right: SHA256SUMS of the release is checked by its minisign signature, what is
# installed by its sum. Needs curl or wget for an address, and openssl 3 or minisign for the signature.
set -eu

# A release puts its own address and key here.
SOURCE=''
KEY=''
# Most bytes that are taken for a program, and for the list of sums.
ARCHIVE_MAX=100000000
LIST_MAX=100000

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
fail() { warn "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
usage() { warn "error: $*"; warn "usage: install.sh [--from SOURCE] [--version X.Y.Z] [--prefix DIR] [--service] [--join LINK] [--key KEY] [--downgrade] [--dry-run] [--uninstall]"; exit 2; }

# Everything is in functions, and the last line calls: a script that was cut off on its way does nothing.

# doing COMMAND...: says it, and does it unless this is a dry run.
doing() {
  say "  $*"
  [ -n "$DRY_RUN" ] || "$@"
}

options() {
  VERSION='' PREFIX='' SERVICE='' JOIN='' DRY_RUN='' UNINSTALL='' DOWNGRADE=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --from | --version | --prefix | --join | --key)
        [ $# -ge 2 ] && [ -n "$2" ] || usage "$1 needs a value"
        case "$1" in
          --from) SOURCE="$2" ;;
          --version) VERSION="$2" ;;
          --prefix) PREFIX="$2" ;;
          --join) JOIN="$2" SERVICE=1 ;;
          --key) KEY="$2" ;;
        esac
        shift 2
        ;;
      --service) SERVICE=1; shift ;;
      --dry-run) DRY_RUN=1; shift ;;
      --downgrade) DOWNGRADE=1; shift ;;
      --uninstall) UNINSTALL=1; shift ;;
      -h | --help) usage "this is what can be said" ;;
      *) usage "unknown argument: $1" ;;
    esac
  done
  if [ -z "$PREFIX" ]; then
    if [ "$(id -u)" -eq 0 ]; then
      PREFIX=/usr/local
    else
      [ -n "${HOME:-}" ] || fail "HOME is not set; give --prefix DIR"
      PREFIX="$HOME/.local"
    fi
  fi
  case "$PREFIX" in /*) ;; *) PREFIX="$PWD/$PREFIX" ;; esac
  PROGRAM="$PREFIX/bin/clawmesh-node"
}

# What this machine runs, in the words of the file names.
machine() {
  case "$(uname -s)" in
    Linux) SYSTEM=linux ;;
    Darwin) SYSTEM=macos ;;
    *) fail "there is no program for $(uname -s); on Windows use the .msi" ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) MACHINE=x86_64 ;;
    aarch64 | arm64) MACHINE=aarch64 ;;
    *) fail "there is no program for a $(uname -m); build it: make node" ;;
  esac
}

# fetch NAME MOST: a file of the release into the work folder; no more of it than MOST bytes.
fetch() {
  case "$SOURCE" in
    https://* | http://127.0.0.1:* | http://localhost:*)
      # Redirections too stay with TLS; plain HTTP never leaves the machine.
      if have curl; then
        # A server that does not say how much it sends is cut off: what goes on the disk is bounded by head.
        { curl -fsSL --proto '=https,http' --proto-redir '=https' --tlsv1.2 --connect-timeout 20 --speed-time 60 --speed-limit 100 \
          --max-filesize "$2" "$SOURCE/$1" || : >"$WORK/failed"; } | head -c "$(($2 + 1))" >"$WORK/$1"
      elif have wget; then
        case "$SOURCE" in https://*) only=--https-only ;; *) only='' ;; esac
        { wget -q $only --timeout=60 --tries=2 -O - "$SOURCE/$1" || : >"$WORK/failed"; } | head -c "$(($2 + 1))" >"$WORK/$1"
      else
        fail "neither curl nor wget is here; install one, or fetch the release elsewhere and give its folder with --from"
      fi
      [ "$(wc -c <"$WORK/$1")" -le "$2" ] || fail "$1 is larger than $2 bytes"
      [ ! -e "$WORK/failed" ] || fail "$SOURCE/$1 could not be fetched; is there a network, and a release at that address?"
      ;;
    http://*) fail "$SOURCE is without TLS; use https://" ;;
    *)
      [ -f "$SOURCE/$1" ] || fail "$SOURCE/$1 is not there"
      [ "$(wc -c <"$SOURCE/$1")" -le "$2" ] || fail "$SOURCE/$1 is larger than $2 bytes"
      cp "$SOURCE/$1" "$WORK/$1"
      ;;
  esac
  [ "$(wc -c <"$WORK/$1")" -le "$2" ] || fail "$1 is larger than $2 bytes"
}

# The key as minisign writes it: a line of 56 characters.
key_line() {
  if [ -f "$KEY" ]; then KEY="$(grep -v '^untrusted comment:' "$KEY" | head -n 1)"; fi
  [ -n "$KEY" ] || fail "no public key is known to check the release by; give --key"
  case "$KEY" in
    *[!A-Za-z0-9+/=]*) fail "--key is no minisign key: a line of 56 characters that begins with RW" ;;
  esac
  [ "${#KEY}" -eq 56 ] || fail "--key is no minisign key: a line of 56 characters that begins with RW"
}

# signed NAME: ends unless NAME.minisig signs the file with the key.
signed() {
  key_line
  fetch "$1.minisig" "$LIST_MAX"
  if have minisign; then
    minisign -V -q -P "$KEY" -m "$WORK/$1" -x "$WORK/$1.minisig" || fail "the signature of $1 is wrong: nothing was installed"
    return
  fi
  have openssl && openssl version | grep -q '^OpenSSL [3-9]' \
    || fail "the signature cannot be checked here; install minisign or OpenSSL 3"
  # A minisign signature is 2 bytes of algorithm, 8 of the key's id, and 64 of Ed25519: over the file (Ed), or over its BLAKE2b (ED).
  printf '%s' "$KEY" | openssl base64 -d -A >"$WORK/key" 2>/dev/null || :
  sed -n 2p "$WORK/$1.minisig" | tr -d '\r\n' | openssl base64 -d -A >"$WORK/sig" 2>/dev/null || :
  [ "$(wc -c <"$WORK/key")" -eq 42 ] || fail "--key is no minisign key"
  [ "$(wc -c <"$WORK/sig")" -eq 74 ] || fail "$1.minisig is no signature of minisign"
  part key 3 8 >"$WORK/key.id"
  part sig 3 8 >"$WORK/sig.id"
  cmp -s "$WORK/key.id" "$WORK/sig.id" || fail "$1 is signed with another key than the one to check by: nothing was installed"
  { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; part key 11 32; } >"$WORK/key.der"
  part sig 11 64 >"$WORK/sig.raw"
  case "$(part sig 1 2)" in
    Ed) cp "$WORK/$1" "$WORK/signed" ;;
    ED) openssl dgst -blake2b512 -binary "$WORK/$1" >"$WORK/signed" ;;
    *) fail "$1.minisig is signed in a way that is not known here" ;;
  esac
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key.der" -rawin -in "$WORK/signed" -sigfile "$WORK/sig.raw" >/dev/null 2>&1 \
    || fail "the signature of $1 is wrong: nothing was installed"
}

# part FILE FIRST COUNT: bytes of a file in the work folder, the first is 1.
part() { dd if="$WORK/$1" bs=1 skip="$(($2 - 1))" count="$3" 2>/dev/null; }

sum_of() {
  if have sha256sum; then sha256sum "$1" | cut -c 1-64; else shasum -a 256 "$1" | cut -c 1-64; fi
}

# The line of the list for this machine: its sum and its name, and from that the version.
choose() {
  is_version "${VERSION:-0.0.0}" || usage "--version is a number like 1.2.3, not $VERSION"
  tail_of="-$SYSTEM-$MACHINE.tar.gz"
  lines="$(grep -E "^[0-9a-f]{64} [ *]clawmesh-node-[0-9A-Za-z.+-]*$tail_of\$" "$WORK/SHA256SUMS" || true)"
  [ -n "$lines" ] || fail "the release has no program for $SYSTEM on $MACHINE"
  [ "$(printf '%s\n' "$lines" | wc -l)" -eq 1 ] || fail "the release lists two programs for $SYSTEM on $MACHINE"
  SUM="$(printf '%s' "$lines" | cut -c 1-64)"
  NAME="$(printf '%s' "$lines" | cut -c 67-)"
  FOUND="${NAME#clawmesh-node-}"
  FOUND="${FOUND%"$tail_of"}"
  is_version "$FOUND" || fail "the release names a version that is none: $FOUND"
  [ -z "$VERSION" ] || [ "$VERSION" = "$FOUND" ] || fail "$SOURCE offers $FOUND, not $VERSION"
}

is_version() {
  printf '%s\n' "$1" | grep -qE '^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9A-Za-z.]{1,32})?$'
}

# older A B: whether version A is before B; a version with a suffix is before the one without.
older() {
  [ "$1" != "$2" ] || return 1
  a="${1%%-*}" b="${2%%-*}"
  if [ "$a" = "$b" ]; then
    [ "$1" = "$a" ] && return 1
    [ "$2" = "$b" ] && return 0
  fi
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$1" ]
}

# The version that a program says it is; nothing if it does not say so within 20 seconds.
says() {
  if have timeout; then limit="timeout 20"; else limit=''; fi
  $limit "$1" --version 2>"$WORK/said" | awk 'NR == 1 { print $2 }'
}

there() {
  [ ! -d "$PROGRAM" ] || fail "$PROGRAM is a folder; move it away, or give another --prefix"
  [ -x "$PROGRAM" ] || return 0
  says "$PROGRAM"
}

install_program() {
  [ -n "$SOURCE" ] || usage "this script is not from a release; say where one is with --from"
  SOURCE="${SOURCE%/}"
  machine
  fetch SHA256SUMS "$LIST_MAX"
  signed SHA256SUMS
  choose
  say "The release at $SOURCE is signed with the expected key; it has clawmesh-node $FOUND for $SYSTEM on $MACHINE."
  was="$(there)"
  if [ -n "$was" ] && [ -z "$DOWNGRADE" ] && older "$FOUND" "$was"; then
    fail "$PROGRAM is $was, newer than $FOUND; an older program may not open what a newer one wrote. Use --downgrade if that is what you want"
  fi
  if [ -n "$DRY_RUN" ]; then
    say "Without --dry-run it would, having checked the sum of $NAME:"
  else
    fetch "$NAME" "$ARCHIVE_MAX"
    [ "$(sum_of "$WORK/$NAME")" = "$SUM" ] || fail "$NAME is not what the signed list says (cut off, or changed): nothing was installed"
    mkdir "$WORK/new"
    tar -xzf "$WORK/$NAME" -C "$WORK/new" || fail "$NAME cannot be unpacked: is the disk full? Nothing was installed"
    NEW="$WORK/new/clawmesh-node-$FOUND-$SYSTEM-$MACHINE/clawmesh-node"
    [ -f "$NEW" ] && [ -z "$(find "$WORK/new" -type l)" ] || fail "$NAME has no clawmesh-node where it should be, or links: nothing was installed"
    # On this machine, before anything is replaced.
    said="$(says "$NEW" || :)"
    if [ "$said" != "$FOUND" ]; then
      cat "$WORK/said" >&2
      fail "clawmesh-node $FOUND does not run here, or says that it is another version (${said:-nothing}): nothing was installed"
    fi
    say "Installing:"
  fi
  doing mkdir -p "$PREFIX/bin" || fail "$PREFIX/bin cannot be made; run this as root, or give --prefix"
  if [ -z "$DRY_RUN" ]; then
    # Beside the old one, then in its place in one step: a full disk leaves the old one. What is there under that name is no file of ours.
    rm -f "$PROGRAM.new"
    cp "$NEW" "$PROGRAM.new" && chmod 0755 "$PROGRAM.new" && { sync "$PROGRAM.new" 2>/dev/null || sync; } && mv -f "$PROGRAM.new" "$PROGRAM" || {
      rm -f "$PROGRAM.new"
      fail "$PROGRAM cannot be written (is the disk full, or are you not root?): what was there is unchanged"
    }
  fi
  say "  $PROGRAM is clawmesh-node $FOUND${was:+ (was $was)}"
  if [ -n "$SERVICE" ]; then service; else after; fi
}

service() {
  [ "$SYSTEM" = linux ] && [ "$(id -u)" -eq 0 ] || fail "--service and --join set up a service of the system: run this as root, on Linux"
  doing "$PROGRAM" service install
  [ -n "$JOIN" ] || { after; return 0; }
  # What is printed are the pictures and the end of it; the person who printed the link says yes at that node.
  as="runuser -u clawmesh --"
  have runuser || as="sudo -u clawmesh"
  say "  $as $PROGRAM pair --state-dir /var/lib/clawmesh --as command-center --json (the link)"
  [ -z "$DRY_RUN" ] || return 0
  tries=30
  # 7 is an answer too: the node runs, and an alarm stands.
  until code=0; $as "$PROGRAM" status --state-dir /var/lib/clawmesh >/dev/null 2>&1 || code=$?; [ "$code" -eq 0 ] || [ "$code" -eq 7 ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "the node does not answer; see: journalctl -u clawmesh-node"
    sleep 1
  done
  echo yes | $as "$PROGRAM" pair "$JOIN" --state-dir /var/lib/clawmesh --as command-center --json \
    || fail "the node is installed and runs, but is not paired; print a new link at the other node and run: $as $PROGRAM pair --state-dir /var/lib/clawmesh 'LINK'"
  say "Paired. See: $as $PROGRAM peers --state-dir /var/lib/clawmesh"
}

after() {
  case ":$PATH:" in
    *":$PREFIX/bin:"*) ;;
    *) say "$PREFIX/bin is not on your PATH: export PATH=\"$PREFIX/bin:\$PATH\"" ;;
  esac
  if [ -n "$was" ]; then
    say "A node that runs is still the old program: restart it (as a service: systemctl restart clawmesh-node)."
  fi
}

uninstall() {
  [ -e "$PROGRAM" ] || fail "$PROGRAM is not there"
  if "$PROGRAM" service status >/dev/null 2>&1; then doing "$PROGRAM" service uninstall; fi
  doing rm -f "$PROGRAM"
  say "State directories (keys, records) are left: /var/lib/clawmesh of a service, else ~/.clawmesh."
}

main() {
  options "$@"
  if [ -n "$UNINSTALL" ]; then uninstall; return; fi
  umask 022
  WORK="$(mktemp -d)" || fail "no temporary folder can be made: is the disk full?"
  trap 'rm -rf "$WORK"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  install_program
}

main "$@"
