# The main job of two nodes, for scripts that run a node which was built for another machine; sourced, never run. They set:
# `program` (an array: what runs the node, and the node), `before` (what stands before a path that the program is told, as Wine's Z:),
# `what` (what is tried, in words) and `WORK` (a folder), and call at their end `end_nodes`.
#
#   main_job DIR     identity, trust, an operator, two nodes that link, a wish, an approval, the trace and the trail; the field
#                    node is killed in the middle of an action and started again: the end of that action is unknown, and its trail
#                    verifies; then both end in order, after the function before_the_end where there is one

mkdir -p "${WORK:?}"
# A failure within $( ) is one too.
shopt -s inherit_errexit
# The nodes by name, as long as they run. Their stdin is a pipe that this shell holds open, as 8 and 9: they end when it is closed.
declare -A NODES=()

node() { "${program[@]}" "$@" </dev/null 8>&- 9>&- | tr -d '\r'; }
# said NAME: the value of the first text of this name in JSON.
said() { sed -n "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }
tell() {
  tail -n 20 "$WORK"/*.log >&2 || true
  fail "$what: $*"
}
# until_true WHAT COMMAND...: repeats a command until it succeeds, for three minutes.
until_true() {
  local wanted="$1" over=$((SECONDS + 180))
  shift
  until "$@" >"$WORK/last.log" 2>&1; do
    [ "$SECONDS" -lt "$over" ] || tell "$wanted"
    sleep 1
  done
}
# run NAME ARGUMENT...: starts a node, center or field, in the background; the system chooses its port.
run() {
  local name="$1"
  shift
  rm -f "$WORK/$name.in"
  mkfifo "$WORK/$name.in"
  "${program[@]}" start --end-with-stdin --port 0 --no-discovery --mesh-name demo "$@" \
    <"$WORK/$name.in" >"$WORK/$name.log" 2>&1 8>&- 9>&- &
  NODES[$name]=$!
  case "$name" in
    center) exec 8>"$WORK/$name.in" ;;
    field) exec 9>"$WORK/$name.in" ;;
  esac
}
# gone NAME: waits for the end of a node, and returns its exit code.
gone() {
  local code=0
  wait "${NODES[$1]}" 2>/dev/null || code=$?
  unset "NODES[$1]"
  return "$code"
}
# Ends what a failure left running.
end_nodes() {
  local name
  exec 8>&- 9>&-
  for name in "${!NODES[@]}"; do
    kill -9 "${NODES[$name]}" 2>/dev/null || true
    gone "$name" || true
  done
}
port() { sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$1/run.json" 2>/dev/null; }
has_port() { [ -n "$(port "$1")" ]; }

# The wish for an action of some seconds at the field node, as the id of its proposal.
wish() {
  local found
  node propose actuator:mock:valve-1 open "durationSec=$1" --reason "a try of $1 s" --state-dir "$A" >/dev/null || tell "the wish is refused"
  found() { [ -n "$(node proposals --state-dir "$A" --json | said id)" ]; }
  until_true "the wish does not become a proposal" found
  node proposals --state-dir "$A" --json | said id
}
linked() { node peers --state-dir "$A" --json | grep '"connected"' >/dev/null; }
is_told() { node trace "$1" --state-dir "$A" | grep -i "$2" >/dev/null; }

main_job() {
  local home="$1" a_id b_id person peer id
  mkdir -p "$home"
  A="$before$home/center" B="$before$home/field"
  step "$what: identities, trust and an operator, in a path of ${#home} letters"
  a_id="$(node identity --state-dir "$A" --json | said deviceId)"
  b_id="$(node identity --state-dir "$B" --json | said deviceId)"
  [ -n "$a_id" ] && [ -n "$b_id" ] || tell "no identity"
  node trust add "$b_id" --as field --name field-1 --state-dir "$A" >/dev/null
  node trust add "$a_id" --as command-center --name center --state-dir "$B" >/dev/null
  person="$(node operator init --state-dir "$A" --json | said publicKey)"
  [ -n "$person" ] || tell "no operator key"
  node operator enroll "$person" --level L2 --name Ada --state-dir "$B" >/dev/null

  step "$what: two nodes link"
  run center --state-dir "$A" --name center --role planner
  until_true "the command centre does not listen" has_port "$home/center"
  peer="$a_id=wss://127.0.0.1:$(port "$home/center")||local"
  field=(field --state-dir "$B" --name field-1 --role field --mock-actuator --mock-sensor --peer "$peer")
  run "${field[@]}"
  until_true "the nodes do not link" linked

  step "$what: a wish, its approval, its trace and the trail"
  id="$(wish 1)"
  node approve "$id" --yes --wait --state-dir "$A" >"$WORK/approve.log" 2>&1 || tell "the approval"
  is_told "$id" outcome || tell "the trace has no outcome"
  node audit verify --state-dir "$B" >/dev/null || tell "the trail does not verify"

  step "$what: killed in the middle of an action, and started again"
  id="$(wish 20)"
  node approve "$id" --yes --state-dir "$A" >"$WORK/approve.log" 2>&1 || tell "the second approval"
  until_true "the action does not begin" is_told "$id" executing
  kill -9 "${NODES[field]}"
  gone field || true
  exec 9>&-
  rm -f "$home/field/run.json"
  run "${field[@]}"
  until_true "the killed node does not come back" has_port "$home/field"
  until_true "the nodes do not link again" linked
  until_true "the action that was cut off is not told as unknown" is_told "$id" "ended .*unknown"
  node audit verify --state-dir "$B" >/dev/null || tell "the trail does not verify after the kill"

  if declare -F before_the_end >/dev/null; then before_the_end; fi
  step "$what: both end in order"
  exec 8>&- 9>&-
  gone field || tell "the field node ended with exit code $?"
  gone center || tell "the command centre ended with exit code $?"
  [ ! -e "$home/field/run.json" ] || tell "run.json is left"
}
