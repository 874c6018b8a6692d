//! The policy a node with the simulated kit starts with, and an example to write one's own by.

/// A complete, commented policy for `actuator:mock:*`; its tests pass.
pub const STARTER_POLICY: &str = r#"# What this executor allows. Whatever no rule names is denied.
# Change it, then run `clawmesh-node policy test`; a running node takes the file when its tests pass
# and keeps the last good policy when they do not.
#
# The first rule that covers actuator and operation decides, so write the stricter one first. In
# `capability`, `*` inside covers one segment and `*` or `**` at the end everything behind it;
# operations = ["*"] covers every operation.
version = 1

[[rule]]
name = "water"
capability = "actuator:mock:valve-*"
operations = ["open"]
level = "L2"                     # one operator must approve; L3: two; L1: nobody, only for rules of this
                                 # node's own planner and of the devices in from = ["<device id>"], and
                                 # only with conditions that this node itself sees
#hours = { from = "06:00", to = "20:00", zone = "+02:00" }   # a fixed offset; UTC without zone
safe_state = "close"             # what ends every run, also after a crash
deadline_sec = 20                # the valve never stays open longer
duration_param = "durationSec"   # how long the asker wants it open, in seconds
max_evidence_age_sec = 900       # how old the cited reading may be when the valve moves; a proposal
                                 # waits no longer than that
min_evidence = 1                 # cited readings; what an interlock looks at does not count
may_cite_nothing = ["person", "llm"]   # a typed wish or a gen-1 command; the person who approves judges
min_tier = "T2"

[rule.params.durationSec]
type = "integer"
min = 1
max = 20
required = true

[rule.caps]
runs_per_hour = 60
minutes_per_day = 120

[[rule.interlock]]               # never run the tank dry
metric = "tank.level"
origin = "self"
op = ">"
value = 5.0
max_age_sec = 60

[[rule]]
name = "fill the tank"
capability = "actuator:mock:pump-*"
operations = ["start"]
level = "L2"
safe_state = "stop"
deadline_sec = 20
duration_param = "durationSec"

[rule.params.durationSec]
type = "integer"
min = 1
max = 20
required = true

[rule.caps]
runs_per_hour = 60

[[rule.interlock]]               # never overfill it
metric = "tank.level"
origin = "self"
op = "<"
value = 95.0
max_age_sec = 60

[[rule]]
name = "make safe"
capability = "actuator:mock:*"
operations = ["close", "stop"]
level = "L2"
safe_state = "close"
deadline_sec = 1

# Several actuators as one action, which is asked for by its name; a person signs every step of it (docs/kinds.md).
#[[rule]]
#name = "fill through the valve"
#capability = "actuator:sequence:fill"
#operations = ["start"]
#level = "L2"
#kind = "sequence"
#deadline_sec = 60
#[[sequence]]
#capability = "actuator:sequence:fill"
#operation = "start"
#[[sequence.step]]                # the valve is open until the pump has ended
#actuator = "actuator:mock:valve-1"
#operation = "open"
#params = { durationSec = 20 }
#until = "end"
#[[sequence.step]]
#wait_ms = 1000
#actuator = "actuator:mock:pump-1"
#operation = "start"
#params = { durationSec = 5 }
#until = "done"

[[test]]
name = "a dry zone may be watered, by approval"
requester = "rules"
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 10 }
facts = [{ metric = "tank.level", value = 80.0, age_sec = 5 }]
evidence = [{ tier = "T2", age_sec = 5 }]
expect = "L2"

[[test]]
name = "a model's wish needs a person too"
requester = "llm"
tainted = true
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 10 }
facts = [{ metric = "tank.level", value = 80.0 }]
evidence = [{ tier = "T2" }]
expect = "L2"

[[test]]
name = "not longer than 20 seconds"
requester = "person"
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 3600 }
facts = [{ metric = "tank.level", value = 80.0 }]
evidence = [{ tier = "T2" }]
expect = "deny"
because = "POLICY_DENIED"

[[test]]
name = "not from an empty tank"
requester = "person"
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 10 }
facts = [{ metric = "tank.level", value = 3.0 }]
evidence = [{ tier = "T2" }]
expect = "deny"
because = "INTERLOCK_OPEN"

[[test]]
name = "not on old readings"
requester = "rules"
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 10 }
facts = [{ metric = "tank.level", value = 80.0 }]
evidence = [{ tier = "T2", age_sec = 1800 }]
expect = "deny"
because = "EVIDENCE_STALE"

[[test]]
name = "nothing else moves"
requester = "person"
target = "actuator:crane:boom"
operation = "lift"
expect = "deny"
"#;
